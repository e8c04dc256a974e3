//! What both planes share at their edges: logs and traces, metrics, error statuses, bearer tokens, the bounds of listeners.
//!
//! A binary calls [`init`] once and keeps the [`Guard`] until it exits. Servers check callers with [`auth::Guard`], answer
//! errors with [`status::status`] and serve [`install_metrics`]`().render()`. A client attaches its token with
//! [`auth::Bearer`] and the current span with [`inject`]; the server continues the trace with [`set_parent`]. Where nobody
//! configured a key or token, [`local`] keeps one for this machine and user.
//!
//! [`init`] also settles which cryptography TLS uses, see [`install_tls`].
//!
//! Nothing here knows about calls, sessions or audio.

pub mod auth;
mod context;
pub mod labels;
pub mod listener;
pub mod local;
mod logs;
mod metrics;
pub mod secret;
mod settings;
pub mod status;
mod tls;

pub use context::{inject, set_parent};
pub use logs::{Guard, init};
pub use metrics::{PrometheusHandle, install_metrics};
pub use settings::{DEFAULT_FILTER, LogFormat, Settings, SettingsError, SettingsErrors};
pub use tls::install_tls;
