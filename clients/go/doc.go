// Package voicebridge is the client of voicebridge: it follows and steers WhatsApp calls that an AI answers.
//
// [Dial] is where to begin. [Client] has the generated stubs, with key, deadline and typed errors on them, and
// [Client.Follow], a stream of events that resumes by itself. Messages are the generated ones, documented field by field:
// gen/voicebridge/control/v1 for requests and answers, gen/voicebridge/types/v1 for calls and events.
package voicebridge

import typesv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/types/v1"

// Event is one thing that happened on a call.
type Event = typesv1.Event
