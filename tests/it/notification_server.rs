//! A receiver of notifications that is made of sockets and reacts as it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longer than any test takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a receiver does with a notification.
#[derive(Clone, Copy)]
pub(crate) enum Reaction {
    Status(u16),
    Bytes(&'static [u8]),
    Silence,
}

/// A notification as it was received.
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        &found.unwrap_or_else(|| panic!("no {name}")).1
    }
}

/// A receiver of notifications that reacts as told to one after the other.
pub(crate) struct NotificationServer {
    pub(crate) url: String,
    received: Receiver<Received>,
    _thread: JoinHandle<()>,
}

impl NotificationServer {
    pub(crate) fn open(reactions: impl IntoIterator<Item = Reaction>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/notify", listener.local_addr().unwrap());
        let (sender, received) = channel();
        let reactions: Vec<_> = reactions.into_iter().collect();
        let thread = thread::spawn(move || serve(&listener, &reactions, &sender));
        Self {
            url,
            received,
            _thread: thread,
        }
    }

    pub(crate) fn next(&self) -> Received {
        self.received.recv_timeout(PATIENCE).unwrap()
    }
}

fn serve(listener: &TcpListener, reactions: &[Reaction], sender: &Sender<Received>) {
    let mut silent = Vec::new();
    for reaction in reactions {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = BufReader::new(stream);
        let received = read(&mut stream);
        let _ = sender.send(received);
        let mut stream = stream.into_inner();
        match reaction {
            Reaction::Status(status) => {
                let head = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\n{{}}");
                let _ = stream.write_all(head.as_bytes());
            }
            Reaction::Bytes(bytes) => _ = stream.write_all(bytes),
            Reaction::Silence => silent.push(stream),
        }
    }
    // The silent ones stay open as long as the sandbox does.
    for mut stream in silent {
        let _ = stream.read(&mut [0]);
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Received {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "{lines:?}");
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let line = lines.remove(0);
    let headers: Vec<(String, String)> = lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let length = headers.iter().find(|(name, _)| name == "Content-Length");
    let mut body = vec![0; length.unwrap().1.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    Received {
        line,
        headers,
        body,
    }
}
