//! What a YubiKey says about itself: metadata of slots and references, PIV properties, the management applet's configuration.

use super::{
    Answer, Card, Firmware,
    apdu::{Command, REFERENCE_NOT_FOUND},
    keys, management,
    references::{PIN, PUK, Reference},
    tlv,
};

impl Card {
    /// GET METADATA (firmware 5.3 and later): 01 algorithm, 02 policies, 03 origin, 04 public key, 05 default, 06 retries.
    pub(super) fn metadata(&self, command: &Command) -> Answer {
        let mut out = Vec::new();
        match command.p2 {
            PIN => reference(&mut out, &self.pin),
            PUK => reference(&mut out, &self.puk),
            management::SLOT => {
                let key = &self.management;
                let touch = if key.touch { keys::TOUCH_ALWAYS } else { keys::TOUCH_NEVER };
                tlv::put(&mut out, 0x01, &[key.algorithm]);
                tlv::put(&mut out, 0x02, &[0, touch]);
                tlv::put(&mut out, 0x05, &[u8::from(key.is_default())]);
            }
            slot => {
                let Some(key) = self.slots.get(&slot) else { return REFERENCE_NOT_FOUND.into() };
                tlv::put(&mut out, 0x01, &[keys::ALGORITHM_P256]);
                tlv::put(&mut out, 0x02, &[key.pin_policy, key.touch_policy]);
                tlv::put(&mut out, 0x03, &[if key.generated { 1 } else { 2 }]);
                tlv::put(&mut out, 0x04, &tlv::element(0x86, &key.point()));
            }
        }
        Answer::data(out)
    }

    /// READ CONFIG of the management applet: one page, its length first.
    pub(super) fn read_config(&self) -> Answer {
        let mut page = Vec::new();
        tlv::put(&mut page, 0x01, &[0x02, 0x3f]);
        tlv::put(&mut page, 0x02, &self.serial.to_be_bytes());
        tlv::put(&mut page, 0x03, &[0x02, 0x3f]);
        tlv::put(&mut page, 0x04, &[0x01]);
        tlv::put(&mut page, 0x05, &[self.firmware.0, self.firmware.1, self.firmware.2]);
        tlv::put(&mut page, 0x0a, &[0x00]);
        page.insert(0, page.len() as u8);
        Answer::data(page)
    }
}

fn reference(out: &mut Vec<u8>, reference: &Reference) {
    tlv::put(out, 0x01, &[0xff]);
    tlv::put(out, 0x05, &[u8::from(reference.is_default())]);
    tlv::put(out, 0x06, &[reference.tries, reference.left]);
}

/// The answer to SELECT PIV: application identifier and coexistent tag allocation authority.
pub(super) fn piv_properties() -> Vec<u8> {
    let authority = tlv::element(0x79, &tlv::element(0x4f, &[0xa0, 0x00, 0x00, 0x03, 0x08]));
    let aid = tlv::element(0x4f, &[0x00, 0x00, 0x10, 0x00, 0x01, 0x00]);
    tlv::element(0x61, &[aid, authority].concat())
}

/// The answer to SELECT of the management applet; clients parse the version at its end.
pub(super) fn management_banner((major, minor, patch): Firmware) -> String {
    format!("Virtual mgr - FW version {major}.{minor}.{patch}")
}
