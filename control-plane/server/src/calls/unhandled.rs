//! What is stored of a call and may not have had its consequences before its task went away: the end of the session, which its
//! node tells once only, and Meta's word, of which the sender believes that it was taken.

use voicebridge_core::call_life::Event;

use crate::{
    convert,
    store::{CallRow, Store, StoreError},
};

/// Kind of the node's last event.
const SESSION_ENDED: &str = "session_ended";

/// For the call's life, in their order.
pub(super) async fn events(store: &dyn Store, row: &CallRow) -> Result<Vec<Event>, StoreError> {
    let mut found = Vec::new();
    for event in store.events_of_kind(&row.call_id, SESSION_ENDED).await? {
        let event = convert::event_from_row(&row.call_id, &event).map_err(|_| StoreError::Corrupt("events.payload"))?;
        // One of a session before: the call went on at another node.
        let ours = row.session.as_ref().is_some_and(|session| session.session_id == event.session_id);
        found.extend(event.kind.as_ref().filter(|_| ours).and_then(convert::life_event));
    }
    let hang_up = store.tombstone(&row.wacid).await?;
    found.extend(hang_up.map(|hang_up| Event::WebhookTerminate { failed: hang_up.failed, code: hang_up.error_code }));
    Ok(found)
}
