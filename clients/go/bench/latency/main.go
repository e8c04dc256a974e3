// Command latency measures how long an event takes from a media node into the hands of a subscriber in this language.
//
//	go run ./bench/latency [EVENTS]
//
// It follows all calls of the control plane at VOICE_BRIDGE_URL, as VOICE_BRIDGE_API_KEY, until so many events (default 100)
// were measured, and prints one line of JSON: {"client", "events", "p50_ms", "p95_ms"}. Somebody has to make calls meanwhile.
// Only events of media nodes count, and only those that happened after the first event was here: the stream is live then.
// The nodes' clock must be this machine's.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"time"

	voicebridge "github.com/voicebridge/voicebridge/clients/go"
	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"
)

func main() {
	events := 100
	if len(os.Args) > 1 {
		var err error
		if events, err = strconv.Atoi(os.Args[1]); err != nil || events < 1 {
			log.Fatalf("not a number of events: %s", os.Args[1])
		}
	}
	delays, err := measure(events)
	if err != nil {
		log.Fatal(err)
	}
	slices.Sort(delays)
	figures, err := json.Marshal(map[string]any{
		"client": "go", "events": len(delays), "p50_ms": percentile(delays, 50), "p95_ms": percentile(delays, 95),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(figures))
}

// measure gives the time from OccurredAt to here, one per event.
func measure(events int) ([]time.Duration, error) {
	client, err := voicebridge.Dial(os.Getenv("VOICE_BRIDGE_URL"), voicebridge.WithAPIKey(os.Getenv("VOICE_BRIDGE_API_KEY")))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var delays []time.Duration
	var liveSince time.Time
	for event, err := range client.Follow(context.Background(), &controlv1.StreamEventsRequest{}).Events() {
		if err != nil {
			return nil, err
		}
		now, occurred := time.Now(), event.GetOccurredAt().AsTime()
		if liveSince.IsZero() {
			liveSince = now
		} else if event.GetNode() != "" && occurred.After(liveSince) {
			delays = append(delays, now.Sub(occurred))
		}
		if len(delays) == events {
			break
		}
	}
	return delays, nil
}

// percentile of sorted delays, in milliseconds: the smallest that so many percent do not exceed.
func percentile(sorted []time.Duration, percent int) float64 {
	index := (len(sorted)*percent + 99) / 100
	return float64(sorted[index-1].Microseconds()) / 1000
}
