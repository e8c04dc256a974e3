//! KeyService.

use std::{sync::Arc, time::Duration};

use tonic::{Code, Request, Response, Status};
use voicebridge_proto::control::v1::{self as control, key_service_server::KeyService};

use super::{Fault, arguments::call_name};
use crate::{
    access::{Authentication, Keyring, Scope, hash},
    calls::Calls,
    clock::now_ms,
    convert,
    store::{Creation, KeyStore, NewKey, Revocation, StoreError},
};

/// Keys in the table. Then the oldest that works no more makes room, and if all of them work there is none.
const MAX_KEYS: u32 = 1_000;
/// Longest name of a key, bytes.
const MAX_NAME_BYTES: usize = 64;
/// How long a key works at least and at most, when it does not for ever.
const MIN_LIFETIME: Duration = Duration::from_secs(60);
const MAX_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// How long a read token works, when nothing is said, and at most.
const TOKEN_LIFETIME: Duration = Duration::from_secs(5 * 60);
const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Tells our keys from other strings, for people and for scanners of secrets.
const KEY_PREFIX: &str = "vb_";

/// The service.
#[derive(Clone)]
pub(crate) struct Keys {
    store: Arc<dyn KeyStore>,
    keyring: Arc<Keyring>,
    /// A token for one call is for one there is.
    calls: Calls,
}

impl Keys {
    pub(crate) fn new(store: Arc<dyn KeyStore>, keyring: Arc<Keyring>, calls: Calls) -> Self {
        Self { store, keyring, calls }
    }

    /// A token is shown in URLs, where Meta's id has no place: whichever id was given, the token has ours.
    async fn one_call(&self, name: &str) -> Result<Option<String>, Fault> {
        if name.is_empty() {
            return Ok(None);
        }
        let call_id = self.calls.find(&call_name(name)?).await?;
        Ok(Some(call_id.as_str().to_owned()))
    }

    async fn create(&self, request: control::CreateKeyRequest, by: &str) -> Result<control::CreateKeyResponse, Fault> {
        if request.name.len() > MAX_NAME_BYTES || request.name.chars().any(char::is_control) {
            return Err(Fault::invalid("name", "must be at most 64 bytes of printable text"));
        }
        let scopes = convert::scopes_from_wire(&request.scopes)
            .filter(|scopes| !scopes.is_empty())
            .ok_or_else(|| Fault::invalid("scopes", "must be at least one of those there are"))?;
        let lifetime = lifetime(request.lifetime_ms, MIN_LIFETIME..=MAX_LIFETIME, "must be a minute to 36500 days")?;
        let secret = format!("{KEY_PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()));
        let created_at_ms = now_ms();
        let key = NewKey {
            key_id: hex::encode(rand::random::<[u8; 8]>()),
            hash: hash(secret.as_bytes()),
            name: request.name,
            scopes,
            created_at_ms,
            expires_at_ms: lifetime.map(|lifetime| created_at_ms + millis(lifetime)),
        };
        match self.store.create_key(&key, self.keyring.settings(), MAX_KEYS).await? {
            Creation::Created => {}
            Creation::FirstNeedsAdmin => {
                return Err(Fault::new(
                    Code::FailedPrecondition,
                    "FIRST_KEY_NEEDS_ADMIN",
                    "The first key must have scope admin: with it the local key is over, and somebody must be able to \
                     make others.",
                ));
            }
            Creation::TooMany => {
                return Err(Fault::new(
                    Code::ResourceExhausted,
                    "TOO_MANY_KEYS",
                    "There are 1000 keys and all of them work; revoke some first.",
                ));
            }
        }
        tracing::info!(key = key.key_id, scopes = scopes.words(), by, "API key made");
        self.changed().await;
        Ok(control::CreateKeyResponse { secret, key: Some(convert::key_to_wire(&key.into_row())) })
    }

    async fn revoke(&self, key_id: &str, by: &str) -> Result<control::RevokeKeyResponse, Fault> {
        let row = match self.store.revoke_key(key_id, now_ms(), self.keyring.settings()).await? {
            Revocation::Revoked(row) => row,
            Revocation::LastAdmin => {
                return Err(Fault::new(
                    Code::FailedPrecondition,
                    "LAST_ADMIN_KEY",
                    "It is the last key with scope admin: nobody could make another afterwards. Make one first.",
                ));
            }
            Revocation::Unknown => {
                let message = "There is no such key; ListKeys names those there are.";
                return Err(Fault::new(Code::NotFound, "KEY_NOT_FOUND", message));
            }
        };
        tracing::info!(key = row.key_id, by, "API key revoked");
        self.changed().await;
        Ok(control::RevokeKeyResponse { key: Some(convert::key_to_wire(&row)) })
    }

    /// The store has it already: should reading fail, the next round does it.
    async fn changed(&self) {
        if let Err(error) = self.keyring.reread().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the API keys could not be read again at once");
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A lifetime as asked for, if one was.
fn lifetime(
    asked_ms: Option<u64>,
    allowed: std::ops::RangeInclusive<Duration>,
    rule: &str,
) -> Result<Option<Duration>, Fault> {
    let Some(lifetime) = asked_ms.map(Duration::from_millis) else { return Ok(None) };
    if allowed.contains(&lifetime) { Ok(Some(lifetime)) } else { Err(Fault::invalid("lifetime_ms", rule)) }
}

#[tonic::async_trait]
impl KeyService for Keys {
    async fn create_key(
        &self,
        request: Request<control::CreateKeyRequest>,
    ) -> Result<Response<control::CreateKeyResponse>, Status> {
        let authentication = Authentication::of(request.extensions());
        let by = authentication.may(Scope::Admin).map_err(Fault::status)?;
        Ok(Response::new(self.create(request.into_inner(), &by.name).await.map_err(Fault::status)?))
    }

    async fn list_keys(
        &self,
        _request: Request<control::ListKeysRequest>,
    ) -> Result<Response<control::ListKeysResponse>, Status> {
        let rows = self.store.keys().await.map_err(|error: StoreError| Fault::from(error).status())?;
        Ok(Response::new(control::ListKeysResponse { keys: rows.iter().map(convert::key_to_wire).collect() }))
    }

    async fn revoke_key(
        &self,
        request: Request<control::RevokeKeyRequest>,
    ) -> Result<Response<control::RevokeKeyResponse>, Status> {
        let authentication = Authentication::of(request.extensions());
        let by = authentication.may(Scope::Admin).map_err(Fault::status)?;
        Ok(Response::new(self.revoke(&request.into_inner().key_id, &by.name).await.map_err(Fault::status)?))
    }

    async fn create_read_token(
        &self,
        request: Request<control::CreateReadTokenRequest>,
    ) -> Result<Response<control::CreateReadTokenResponse>, Status> {
        let authentication = Authentication::of(request.extensions());
        let by = authentication.may(Scope::CallsRead).map_err(Fault::status)?;
        by.has_a_key().map_err(Fault::status)?;
        let request = request.into_inner();
        let asked =
            lifetime(request.lifetime_ms, Duration::from_secs(1)..=MAX_TOKEN_LIFETIME, "must be a second to an hour");
        let lifetime = asked.map_err(Fault::status)?.unwrap_or(TOKEN_LIFETIME);
        let call = self.one_call(&request.call_id).await.map_err(Fault::status)?;
        // Whole seconds are all that a JWT says; rounded down, so that it is never longer than asked for.
        let expires_at_s = (now_ms() + millis(lifetime)).div_euclid(1_000);
        let token = self
            .keyring
            .make_token(by, call.clone(), expires_at_s)
            .ok_or_else(|| Fault::new(Code::Internal, "INTERNAL", "The token could not be written.").status())?;
        let expires_at = Some(prost_types::Timestamp { seconds: expires_at_s, nanos: 0 });
        let call_id = call.unwrap_or_default();
        Ok(Response::new(control::CreateReadTokenResponse { token, expires_at, call_id }))
    }
}
