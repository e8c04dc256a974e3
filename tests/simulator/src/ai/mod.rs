//! A Realtime AI server.
