//! DTLS-SRTP key agreement (RFC 5764), always as the server.
