//! control
pub const SOCKET_NAME: &str = "control.sock";
