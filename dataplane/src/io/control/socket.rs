//! The control socket's file: one data plane per path, private to its user.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Control planes in the kernel's queue: one, its successor, and a person with a tool.
const BACKLOG: i32 = 16;

/// A path that is ours until the process ends. The lock, not the socket file, says so: files outlive a
/// process that was killed, locks do not.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    _lock: File,
}

impl Claim {
    /// Takes `path`, or says which process-wide reason speaks against it.
    ///
    /// # Errors
    /// Another data plane lives there, the directory is missing or not writable, or the path holds
    /// something that is no socket.
    pub fn new(path: &Path) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(PathBuf::from(lock_path))
            .map_err(named)?;
        lock.set_permissions(Permissions::from_mode(0o600))
            .map_err(named)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(path)),
            Err(TryLockError::Error(error)) => return Err(named(error)),
        }
        let claim = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        claim.clear_stale().map_err(named)?;
        Ok(claim)
    }

    /// Listens. From here on control planes can connect: this is the ready signal.
    ///
    /// # Errors
    /// What the kernel said, with the path.
    pub fn listen(&self) -> io::Result<UnixListener> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Linux gives the socket's own mode to the file it binds, so there is no moment in which
        // others could connect, and the process's umask is left alone.
        let file = File::from(OwnedFd::from(socket));
        file.set_permissions(Permissions::from_mode(0o600))?;
        let socket = Socket::from(OwnedFd::from(file));
        socket.bind(&SockAddr::unix(&self.path)?).map_err(named)?;
        std::fs::set_permissions(&self.path, Permissions::from_mode(0o600)).map_err(named)?;
        socket.listen(BACKLOG)?;
        Ok(OwnedFd::from(socket).into())
    }

    /// Removes the socket's file, so that nobody waits for an answer from it.
    pub fn remove(&self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }

    /// Removes what a killed predecessor left behind; refuses to touch anything else.
    fn clear_stale(&self) -> io::Result<()> {
        let metadata = match std::fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "exists and is no socket",
            ));
        }
        // The lock is ours, but a process that lost its lock file may still answer.
        if UnixStream::connect(&self.path).is_ok() {
            return Err(taken(&self.path));
        }
        std::fs::remove_file(&self.path)
    }
}

fn taken(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::AddrInUse,
        format!(
            "{}: another data plane is running on this control socket",
            path.display()
        ),
    )
}

/// The socket's mode already keeps others out; this holds if somebody changed it.
pub(super) fn peer_allowed(stream: &UnixStream) -> bool {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into a live ucred and updates the live length.
    let status = unsafe {
        libc::getsockopt(
            stream.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        )
    };
    // SAFETY: takes no arguments and can't fail.
    let own = unsafe { libc::geteuid() };
    status == 0 && (credentials.uid == own || credentials.uid == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn the_socket_is_private_and_goes_when_told() {
        let directory = directory();
        let path = directory.path().join("x.sock");
        let claim = Claim::new(&path).expect("free");
        let _listener = claim.listen().expect("listens");
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).expect("answers");
        claim.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_living_owner_is_respected_even_without_its_lock_file() {
        let directory = directory();
        let path = directory.path().join("x.sock");
        let claim = Claim::new(&path).expect("free");
        let _listener = claim.listen().expect("listens");
        let error = Claim::new(&path).expect_err("locked");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        std::fs::remove_file(directory.path().join("x.sock.lock")).expect("exists");
        let error = Claim::new(&path).expect_err("answers");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[test]
    fn a_dead_owners_socket_is_replaced_and_nothing_else_is() {
        let directory = directory();
        let path = directory.path().join("x.sock");
        let claim = Claim::new(&path).expect("free");
        drop(claim.listen().expect("listens"));
        drop(claim);
        let claim = Claim::new(&path).expect("stale");
        let _listener = claim.listen().expect("listens again");

        let file = directory.path().join("file");
        std::fs::write(&file, "precious").expect("writes");
        let error = Claim::new(&file).expect_err("no socket");
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).expect("still there"), "precious");
    }

    #[test]
    fn the_own_user_is_allowed() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        assert!(peer_allowed(&ours));
    }
}
