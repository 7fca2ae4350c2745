//! One slot of the reader: the vsmartcard protocol towards libifdvpcd.so, which listens for a card and polls it.
//!
//! Messages are a two-byte length and a body; one byte is a control command (0 power off, 1 power on, 2 reset, 4 ATR), more
//! is an APDU. A connection is a card in the slot. The driver writes length and body apart, so without TCP_QUICKACK each
//! exchange waits for a delayed acknowledgement (40 ms). (The driver can also connect by itself, which would keep it off
//! other interfaces than loopback; vsmartcard 3.3 then crashes pcscd when a card leaves.)

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use socket2::SockRef;

use crate::key::{Reaction, SoftKey};

/// A YubiKey 5's answer to reset: some clients recognise the card by it.
const ATR: [u8; 23] = [
    0x3b, 0xfd, 0x13, 0x00, 0x00, 0x81, 0x31, 0xfe, 0x15, 0x80, 0x73, 0xc0, 0x21, 0xc0, 0x57, 0x59, 0x75,
    0x62, 0x69, 0x4b, 0x65, 0x79, 0x40,
];

const RETRY: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Socket {
    /// Who is plugged in, and the connection that is the card in the slot.
    plugged: Option<SoftKey>,
    connection: Option<TcpStream>,
    /// Changes with every plug and pull, so that a thread notices that its key is gone.
    turn: u64,
}

/// A slot of the reader whose driver listens on `port`; empty at first, and again when dropped.
pub struct Slot {
    port: u16,
    socket: Arc<Mutex<Socket>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Slot {
    pub fn new(port: u16) -> Self {
        Self { port, socket: Arc::default(), thread: Mutex::default() }
    }

    /// Puts a key in place of whatever is there.
    pub fn plug(&self, key: &SoftKey) -> io::Result<()> {
        self.pull();
        let turn = {
            let mut socket = lock(&self.socket);
            socket.turn += 1;
            socket.plugged = Some(key.clone());
            socket.turn
        };
        let (shared, key, port) = (Arc::clone(&self.socket), key.clone(), self.port);
        let thread = std::thread::Builder::new()
            .name(format!("softkey {}", key.serial()))
            .spawn(move || stay(port, &key, &shared, turn))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// Empties the slot and waits for the key's thread to end.
    pub fn pull(&self) {
        unplug(&mut lock(&self.socket));
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }

    pub fn is_plugged(&self) -> bool {
        lock(&self.socket).plugged.is_some()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pull();
    }
}

fn unplug(socket: &mut Socket) {
    socket.turn += 1;
    if let Some(key) = socket.plugged.take() {
        key.power_loss();
    }
    if let Some(connection) = socket.connection.take() {
        drop(connection.shutdown(Shutdown::Both));
    }
}

/// Keeps the key connected until it is pulled.
fn stay(port: u16, key: &SoftKey, shared: &Mutex<Socket>, turn: u64) {
    while lock(shared).turn == turn {
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let ended = connected.and_then(|stream| {
            let mut socket = lock(shared);
            if socket.turn != turn {
                return Ok(());
            }
            socket.connection = Some(stream.try_clone()?);
            drop(socket);
            serve(stream, key, shared, turn)
        });
        // The driver hung up or is not listening; the key is still in the slot, so try again.
        if ended.is_err() {
            std::thread::sleep(RETRY);
        }
    }
}

fn serve(mut stream: TcpStream, key: &SoftKey, shared: &Mutex<Socket>, turn: u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let present = || lock(shared).turn == turn;
    loop {
        let message = receive(&mut stream)?;
        match message.as_slice() {
            [4] => send(&mut stream, &ATR)?,
            [0..=2] => key.power_loss(),
            apdu => match key.transmit(apdu, &present) {
                Reaction::Answer(answer) => send(&mut stream, &answer)?,
                Reaction::Gone => {
                    let mut socket = lock(shared);
                    if socket.turn == turn {
                        unplug(&mut socket);
                    }
                    return Ok(());
                }
            },
        }
    }
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    quick(stream)?;
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    quick(stream)?;
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn quick(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_quickack(true)
}

fn send(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
