//! Data objects: GET DATA and PUT DATA. The printed-information object is readable only with the PIN verified.

use super::{
    Answer, Card,
    apdu::{Command, NO_SPACE, NOT_FOUND, OK, SECURITY_STATUS, WRONG_DATA, WRONG_P1P2},
    tlv,
};

pub const ATTESTATION_CERTIFICATE: &[u8] = &[0x5f, 0xff, 0x01];
const PRINTED: &[u8] = &[0x5f, 0xc1, 0x09];
const MOST: usize = 3052;

impl Card {
    pub(super) fn get_data(&mut self, command: &Command) -> Answer {
        if (command.p1, command.p2) != (0x3f, 0xff) {
            return WRONG_P1P2.into();
        }
        match tlv::find(&command.data, 0x5c) {
            Some(PRINTED) if !self.session.pin_verified => SECURITY_STATUS.into(),
            Some(tag) => match self.objects.get(tag) {
                Some(value) => Answer::data(tlv::element(0x53, value)),
                None => NOT_FOUND.into(),
            },
            None => WRONG_DATA.into(),
        }
    }

    pub(super) fn put_data(&mut self, command: &Command) -> Answer {
        if !self.session.management_authenticated {
            return SECURITY_STATUS.into();
        }
        match (tlv::find(&command.data, 0x5c), tlv::find(&command.data, 0x53)) {
            (Some(_), Some(value)) if value.len() > MOST => NO_SPACE.into(),
            (Some(tag), Some([])) => {
                self.objects.remove(tag);
                OK.into()
            }
            (Some(tag), Some(value)) if tag.len() == 3 => {
                self.objects.insert(tag.to_vec(), value.to_vec());
                OK.into()
            }
            _ => WRONG_DATA.into(),
        }
    }
}
