//! What a simulated Meta and its callers are told: values, limits and defaults. Plain data.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use voicebridge_audio::codec::Codec;

use super::{
    delivery::{Signing, WebhookPolicy},
    faults::Faults,
    network::Network,
    script::{DEFAULT_PATIENCE, Step},
};

/// One WhatsApp business number with its app, and how its Meta behaves.
#[derive(Clone, Debug)]
pub struct MetaSettings {
    /// Where the Graph API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where webhooks go; may be set later, see [`super::Meta::set_webhook_url`].
    pub webhook_url: Option<String>,
    /// Signs webhooks.
    pub app_secret: String,
    /// Sent with the verification request.
    pub verify_token: String,
    /// The bearer token the Graph API wants.
    pub access_token: String,
    /// Graph id of the business's number.
    pub phone_number_id: String,
    /// The number itself.
    pub display_phone_number: String,
    /// Id of the WhatsApp Business Account.
    pub account_id: String,
    /// Time limits of callers.
    pub limits: Limits,
    /// Retries of webhooks.
    pub webhooks: WebhookPolicy,
    /// Faults of the Graph API for all calls.
    pub faults: Faults,
}

impl Default for MetaSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            webhook_url: None,
            app_secret: "simulated-app-secret".to_owned(),
            verify_token: "simulated-verify-token".to_owned(),
            access_token: "simulated-access-token".to_owned(),
            phone_number_id: "106000000000001".to_owned(),
            display_phone_number: "15550001111".to_owned(),
            account_id: "366600000000001".to_owned(),
            limits: Limits::default(),
            webhooks: WebhookPolicy::default(),
            faults: Faults::none(),
        }
    }
}

/// Time limits of the WhatsApp client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// An unanswered call ends this long after its connect webhook; Meta says 30 to 60 s.
    pub ring: Duration,
    /// No RTP this long after accept ends the call: 20 s, error 138021.
    pub first_media: Duration,
    /// No RTP and no RTCP for this long ends a running call: 30 s, error 138021.
    pub media_silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ring: Duration::from_secs(45),
            first_media: Duration::from_secs(20),
            media_silence: Duration::from_secs(30),
        }
    }
}

/// How the connect webhook of a call is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectDelivery {
    /// Once, at once.
    #[default]
    Once,
    /// So many copies at the same time.
    Copies(u32),
    /// After the caller has hung up and the terminate webhook was delivered.
    AfterTerminate,
    /// With a time stamp this old.
    Stale(Duration),
    /// Signed like this, once.
    Forged(Signing),
    /// Not at all: the test delivers it, see [`super::CallHandle::connect_webhook`].
    Withheld,
}

/// One caller and what they do.
#[derive(Clone, Debug)]
pub struct CallerSettings {
    /// Their number; none hides it.
    pub from: Option<String>,
    /// ISO country in their business-scoped user id.
    pub country: String,
    /// Name in their profile. The default holds characters outside ASCII, so that every webhook tries the signature.
    pub profile_name: String,
    /// The one codec their relay offers. Meta always offers Opus; one of G.711 alone is for tests of that.
    pub codec: Codec,
    /// What they do once media runs; at its end they hang up.
    pub script: Vec<Step>,
    /// How long a step waits for the other side.
    pub patience: Duration,
    /// How much later their 20 ms clock begins, against everybody else's.
    pub phase: Duration,
    /// Hang up this long after the connect webhook if the call was not accepted by then.
    pub hang_up_while_ringing: Option<Duration>,
    /// Hang up after this in any case.
    pub max_duration: Duration,
    /// How the connect webhook is delivered.
    pub connect: ConnectDelivery,
    /// Whether the terminate webhook goes elsewhere: to an edge function that holds Meta's signalling itself.
    pub terminate_withheld: bool,
    /// Faults of the Graph API for this call only.
    pub faults: Faults,
    /// A bad network for the call's media; none leaves it alone.
    pub network: Option<Network>,
    /// `deeplink_payload` of the webhooks.
    pub deeplink_payload: Option<String>,
    /// `cta_payload` of the webhooks.
    pub cta_payload: Option<String>,
}

impl Default for CallerSettings {
    fn default() -> Self {
        Self {
            from: Some("5511900000001".to_owned()),
            country: "BR".to_owned(),
            profile_name: "Ana Fiúza".to_owned(),
            codec: Codec::Opus,
            script: vec![Step::Listen],
            patience: DEFAULT_PATIENCE,
            phase: Duration::ZERO,
            hang_up_while_ringing: None,
            max_duration: Duration::from_secs(600),
            connect: ConnectDelivery::Once,
            terminate_withheld: false,
            faults: Faults::none(),
            network: None,
            deeplink_payload: None,
            cta_payload: None,
        }
    }
}
