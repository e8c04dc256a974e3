//! What was said on a call, page by page.
//!
//! A call's transcripts are read whole and put in the order of their beginning, which is not that of their being stored: a
//! text is final when it was heard, or understood. A call has a few hundred at most.

use voicebridge_core::identity::CallId;
use voicebridge_proto::{
    control::v1 as control,
    types::v1::{Transcript, event::Kind},
};

use super::{
    Api, Fault,
    list::{MAX_PAGE, Page, page_size},
    page_token::Scope,
};
use crate::{convert, store::StoreError};

impl Api {
    pub(super) async fn transcripts(
        &self,
        call_id: &CallId,
        request: &control::ListTranscriptsRequest,
    ) -> Result<control::ListTranscriptsResponse, Fault> {
        let mut page = Page::new(page_size(request.page_size, MAX_PAGE)?);
        let scope = Scope::new("transcripts").with(call_id.as_str());
        let after = self.pages.read(&scope, &request.page_token)?;
        for (place, transcript) in self.in_order(call_id).await? {
            if after.is_none_or(|after| place > after) && !page.takes(place, transcript) {
                break;
            }
        }
        let next_page_token = page.next().map_or_else(String::new, |place| self.pages.write(&scope, place));
        Ok(control::ListTranscriptsResponse { transcripts: page.items, next_page_token })
    }

    /// With their places: when they began, and of those that began together which was stored first.
    async fn in_order(&self, call_id: &CallId) -> Result<Vec<((i64, i64), Transcript)>, Fault> {
        let mut transcripts = Vec::new();
        for row in self.store.events_of_kind(call_id, "transcript").await? {
            let event = convert::event_from_row(call_id, &row).map_err(|_| StoreError::Corrupt("events.payload"))?;
            if let Some(Kind::Transcript(transcript)) = event.kind {
                let began = i64::try_from(transcript.start_ms).unwrap_or(i64::MAX);
                transcripts.push(((began, row.sequence as i64), transcript));
            }
        }
        transcripts.sort_by_key(|(place, _)| *place);
        Ok(transcripts)
    }
}
