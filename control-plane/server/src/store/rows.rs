//! Rows as every database returns them, made into what the store promises. No SQL in here.

use sqlx::FromRow;
use voicebridge_core::{
    identity::{CallId, Caller, PhoneNumber, UserId, Wacid},
    labels::Labels,
    payloads::Payloads,
    termination::{Termination, TerminationResult},
};

use super::{
    CallRow, HangUpOutcome, HistoryRow, Holder, KeyRow, LAST_KIND, SessionPlace, StoreError, StoredEvent, Tombstone,
};
use crate::scope::Scopes;

/// A row of `calls`.
#[derive(FromRow)]
pub(super) struct CallColumns {
    pub(super) ordinal: i64,
    pub(super) call_id: String,
    /// None only for calls that we place, of which there are none yet.
    pub(super) wacid: Option<String>,
    pub(super) signalling: String,
    pub(super) phase: String,
    pub(super) phone_number_id: String,
    pub(super) caller_phone: String,
    pub(super) caller_user_id: String,
    pub(super) caller_name: String,
    pub(super) received_at_ms: i64,
    pub(super) ring_until_ms: i64,
    pub(super) session_id: String,
    pub(super) node_id: String,
    pub(super) node_url: String,
    pub(super) region: String,
    pub(super) accepted_at_ms: Option<i64>,
    pub(super) ended_at_ms: Option<i64>,
    pub(super) result: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) upstream_code: Option<String>,
    pub(super) last_sequence: i64,
    pub(super) node_sequence: i64,
    pub(super) deeplink_payload: String,
    pub(super) cta_payload: String,
    pub(super) biz_opaque_callback_data: String,
    /// A JSON object, or nothing.
    pub(super) labels: Option<String>,
}

impl CallColumns {
    /// Its labels.
    pub(super) fn labels(&self) -> Result<Labels, StoreError> {
        labels(self.labels.as_deref())
    }
}

impl TryFrom<CallColumns> for CallRow {
    type Error = StoreError;

    fn try_from(row: CallColumns) -> Result<Self, StoreError> {
        let labels = row.labels()?;
        let session = (!row.session_id.is_empty()).then_some(SessionPlace {
            session_id: row.session_id,
            node_id: row.node_id,
            node_url: row.node_url,
            region: row.region,
        });
        let termination = match row.result {
            None => None,
            Some(word) => Some(Termination {
                result: TerminationResult::from_word(&word).ok_or(StoreError::Corrupt("calls.result"))?,
                reason: row.reason.unwrap_or_default().into(),
                message: row.message.unwrap_or_default(),
                upstream_code: row.upstream_code.unwrap_or_default(),
            }),
        };
        Ok(Self {
            ordinal: row.ordinal,
            call_id: call_id(&row.call_id, "calls.call_id")?,
            wacid: Wacid::parse(row.wacid.unwrap_or_default()).map_err(|_| StoreError::Corrupt("calls.wacid"))?,
            holder: Holder::from_word(&row.signalling).ok_or(StoreError::Corrupt("calls.signalling"))?,
            phase: row.phase,
            phone_number_id: row.phone_number_id,
            caller: Caller {
                phone_number: PhoneNumber::parse(&row.caller_phone),
                user_id: UserId::parse(&row.caller_user_id),
                name: given(row.caller_name),
            },
            labels,
            payloads: Payloads {
                deeplink: given(row.deeplink_payload),
                cta: given(row.cta_payload),
                biz_opaque: given(row.biz_opaque_callback_data),
            },
            received_at_ms: row.received_at_ms,
            ring_until_ms: row.ring_until_ms,
            session,
            accepted_at_ms: row.accepted_at_ms,
            ended_at_ms: row.ended_at_ms,
            termination,
            last_sequence: row.last_sequence as u64,
            node_sequence: row.node_sequence as u64,
        })
    }
}

/// What one call's reader asks for of `events`.
#[derive(FromRow)]
pub(super) struct EventColumns {
    pub(super) sequence: i64,
    pub(super) kind: String,
    pub(super) payload: Vec<u8>,
}

impl From<EventColumns> for StoredEvent {
    fn from(row: EventColumns) -> Self {
        Self { sequence: row.sequence as u64, payload: row.payload, is_last: row.kind == LAST_KIND }
    }
}

/// A row of `events` with what streams choose by.
#[derive(FromRow)]
pub(super) struct HistoryColumns {
    pub(super) position: i64,
    pub(super) call_id: String,
    pub(super) phone_number_id: String,
    pub(super) caller_phone: String,
    #[sqlx(flatten)]
    pub(super) event: EventColumns,
}

impl TryFrom<HistoryColumns> for HistoryRow {
    type Error = StoreError;

    fn try_from(row: HistoryColumns) -> Result<Self, StoreError> {
        Ok(Self {
            position: row.position as u64,
            call_id: call_id(&row.call_id, "events.call_id")?,
            phone_number_id: row.phone_number_id,
            caller_phone: row.caller_phone,
            event: row.event.into(),
        })
    }
}

/// A row of `tombstones`.
#[derive(FromRow)]
pub(super) struct TombstoneColumns {
    pub(super) hung_up_at_ms: i64,
    pub(super) failed: bool,
    pub(super) error_code: Option<i64>,
}

impl From<TombstoneColumns> for Tombstone {
    fn from(row: TombstoneColumns) -> Self {
        Self { hung_up_at_ms: row.hung_up_at_ms, failed: row.failed, error_code: row.error_code }
    }
}

/// A row of `api_keys`.
#[derive(FromRow)]
pub(super) struct KeyColumns {
    pub(super) key_id: String,
    pub(super) hash: Vec<u8>,
    pub(super) name: String,
    pub(super) scopes: String,
    pub(super) created_at_ms: i64,
    pub(super) expires_at_ms: Option<i64>,
    pub(super) revoked_at_ms: Option<i64>,
    pub(super) last_used_at_ms: Option<i64>,
}

impl TryFrom<KeyColumns> for KeyRow {
    type Error = StoreError;

    fn try_from(row: KeyColumns) -> Result<Self, StoreError> {
        Ok(Self {
            key_id: row.key_id,
            hash: row.hash.try_into().map_err(|_| StoreError::Corrupt("api_keys.hash"))?,
            name: row.name,
            scopes: Scopes::parse(&row.scopes).ok_or(StoreError::Corrupt("api_keys.scopes"))?,
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
            revoked_at_ms: row.revoked_at_ms,
            last_used_at_ms: row.last_used_at_ms,
        })
    }
}

/// A whole row of `events`.
#[derive(FromRow)]
pub(super) struct WholeEvent {
    pub(super) position: i64,
    pub(super) call_id: String,
    pub(super) sequence: i64,
    pub(super) kind: String,
    pub(super) occurred_at_ms: i64,
    pub(super) node_sequence: Option<i64>,
    pub(super) payload: Vec<u8>,
}

/// A whole row of `tombstones`.
#[derive(FromRow)]
pub(super) struct WholeTombstone {
    pub(super) wacid: String,
    #[sqlx(flatten)]
    pub(super) tombstone: TombstoneColumns,
}

/// A row of `own_keys`.
#[derive(FromRow)]
pub(super) struct OwnKey {
    pub(super) name: String,
    pub(super) key: Vec<u8>,
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A JSON object of texts, or nothing.
pub(super) fn labels(json: Option<&str>) -> Result<Labels, StoreError> {
    let stored = json.map(serde_json::from_str).transpose().map_err(|_| StoreError::Corrupt("labels"))?;
    Ok(Labels::stored(stored.unwrap_or_default()))
}

/// An id of ours.
pub(super) fn call_id(text: &str, column: &'static str) -> Result<CallId, StoreError> {
    CallId::parse(text).map_err(|_| StoreError::Corrupt(column))
}

/// What is known of a call whose end came: its id, and whether it is over.
pub(super) fn hang_up_outcome(known: Option<(String, bool)>) -> Result<HangUpOutcome, StoreError> {
    let Some((id, is_over)) = known else { return Ok(HangUpOutcome::Unknown) };
    let id = call_id(&id, "calls.call_id")?;
    Ok(if is_over { HangUpOutcome::Ended(id) } else { HangUpOutcome::Live(id) })
}

/// All of them, or the first one that cannot be used.
pub(super) fn all<Columns, Row>(rows: Vec<Columns>) -> Result<Vec<Row>, StoreError>
where
    Row: TryFrom<Columns>,
    StoreError: From<Row::Error>,
{
    rows.into_iter().map(|row| Ok(Row::try_from(row)?)).collect()
}
