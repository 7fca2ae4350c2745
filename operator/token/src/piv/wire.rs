//! APDUs to a card inside one transaction: command chaining, response chaining, and what the reader's failures mean.

use std::time::{Duration, Instant};

use pcsc::{Error, Transaction};
use zeroize::Zeroizing;

use super::sw;
use crate::error::TokenError;

const MOST_DATA: usize = 255;
const MOST_ANSWER: usize = 258;
const MOST_TOTAL: usize = 64 * 1024;
const CHAINED: u8 = 0x10;
const GET_RESPONSE: [u8; 5] = [0x00, 0xc0, 0x00, 0x00, 0x00];

/// A card in a transaction.
pub struct Wire<'t> {
    transaction: &'t Transaction<'t>,
    /// 0 until it is known; for messages.
    pub serial: u32,
}

/// A complete answer.
pub struct Answer {
    pub data: Zeroizing<Vec<u8>>,
    pub sw: u16,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.sw == sw::OK
    }
}

/// A command: instruction, parameters, data, and what it is for (for messages).
pub struct Command<'a> {
    pub operation: &'static str,
    pub ins: u8,
    pub p1: u8,
    pub p2: u8,
    pub data: &'a [u8],
}

impl<'t> Wire<'t> {
    pub fn new(transaction: &'t Transaction<'t>, serial: u32) -> Self {
        Self { transaction, serial }
    }

    /// Sends a command and collects the whole answer, whatever its status.
    pub fn ask(&self, command: &Command<'_>) -> Result<Answer, TokenError> {
        let mut parts = command.data.chunks(MOST_DATA).peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            let more = parts.peek().is_some();
            let class = if more { CHAINED } else { 0 };
            let mut apdu = Zeroizing::new(Vec::with_capacity(5 + part.len()));
            apdu.extend([class, command.ins, command.p1, command.p2, part.len() as u8]);
            apdu.extend_from_slice(part);
            let answer = self.collect(&apdu, command.operation)?;
            if !more || !answer.is_ok() {
                return Ok(answer);
            }
        }
    }

    /// Sends a command that must succeed.
    pub fn expect(&self, command: &Command<'_>) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        let answer = self.ask(command)?;
        if answer.is_ok() { Ok(answer.data) } else { Err(self.refused(command.operation, answer.sw)) }
    }

    /// The error for a status that has no meaning of its own here.
    pub fn refused(&self, operation: &'static str, status: u16) -> TokenError {
        match status {
            // The PIV application is no longer the one that answers.
            sw::INS_UNKNOWN | sw::CLA_UNKNOWN => TokenError::SessionLost { serial: self.serial },
            _ => TokenError::Status { serial: self.serial, operation, status },
        }
    }

    /// The error for an answer that cannot be read.
    pub fn nonsense(&self, operation: &'static str) -> TokenError {
        TokenError::Answer { serial: self.serial, operation }
    }

    fn collect(&self, apdu: &[u8], operation: &'static str) -> Result<Answer, TokenError> {
        let mut data = Zeroizing::new(Vec::with_capacity(MOST_ANSWER));
        let mut status = self.exchange(apdu, &mut data, operation)?;
        while status >> 8 == 0x61 {
            if data.len() > MOST_TOTAL {
                return Err(self.nonsense(operation));
            }
            status = self.exchange(&GET_RESPONSE, &mut data, operation)?;
        }
        Ok(Answer { data, sw: status })
    }

    fn exchange(
        &self,
        apdu: &[u8],
        data: &mut Zeroizing<Vec<u8>>,
        operation: &'static str,
    ) -> Result<u16, TokenError> {
        let mut buffer = Zeroizing::new([0; MOST_ANSWER]);
        let received = self
            .transaction
            .transmit(apdu, buffer.as_mut_slice())
            .map_err(|error| self.failed(operation, error))?;
        let [body @ .., high, low] = received else {
            // Some drivers report a pulled card as an empty answer.
            return Err(self.gone_soon().map_or_else(
                || self.nonsense(operation),
                |error| service_error(operation, error, self.serial),
            ));
        };
        let grown = Zeroizing::new([data.as_slice(), body].concat());
        *data = grown;
        Ok(u16::from_be_bytes([*high, *low]))
    }

    /// What the reader's failure means.
    fn failed(&self, operation: &'static str, error: Error) -> TokenError {
        service_error(operation, clearer(error, || self.gone_soon()), self.serial)
    }

    /// A pulled card is first seen as a failed exchange, and only a moment later as gone: waits that moment.
    fn gone_soon(&self) -> Option<Error> {
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            match self.transaction.status2_owned() {
                Err(Error::NotTransacted | Error::CommError) | Ok(_) => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Some(error),
            }
        }
        None
    }
}

/// A failed exchange says little by itself; whether the card is gone says more.
fn clearer(error: Error, gone: impl FnOnce() -> Option<Error>) -> Error {
    match error {
        Error::NotTransacted | Error::CommError | Error::UnresponsiveCard => gone().unwrap_or(error),
        clear => clear,
    }
}

/// What an error of the smart card service means for the card with this serial.
pub fn service_error(operation: &'static str, error: Error, serial: u32) -> TokenError {
    match error {
        Error::NoService | Error::ServiceStopped => TokenError::NoService,
        Error::RemovedCard
        | Error::NoSmartcard
        | Error::ReaderUnavailable
        | Error::UnknownReader
        | Error::UnpoweredCard => TokenError::Removed { serial },
        Error::ResetCard => TokenError::SessionLost { serial },
        source => TokenError::Service { operation, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_exchange_with_a_card_that_is_gone_is_a_removal() {
        let meaning = |error, gone| service_error("test", clearer(error, || gone), 1);
        let removed = TokenError::Removed { serial: 1 };
        for error in [Error::NotTransacted, Error::CommError, Error::UnresponsiveCard] {
            assert_eq!(meaning(error, Some(Error::RemovedCard)), removed);
            assert!(matches!(meaning(error, None), TokenError::Service { source, .. } if source == error));
        }
        assert_eq!(
            meaning(Error::ResetCard, Some(Error::RemovedCard)),
            TokenError::SessionLost { serial: 1 }
        );
    }
}
