package events

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
)

func TestBroker(t *testing.T) {
	var b Broker
	for i := range Kept + 10 {
		b.Publish(events.ContainerEventType, events.ActionCreate, strconv.Itoa(i), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	past, live := b.Subscribe(ctx, time.Unix(1, 0))
	if len(past) != Kept || past[0].Actor.ID != "10" || past[Kept-1].Actor.ID != strconv.Itoa(Kept+9) {
		t.Fatalf("%d events, from %s to %s", len(past), past[0].Actor.ID, past[len(past)-1].Actor.ID)
	}
	for i := 1; i < len(past); i++ {
		if past[i].TimeNano <= past[i-1].TimeNano {
			t.Fatalf("event %d is not later than the one before", i)
		}
	}
	if again, _ := b.Subscribe(ctx, time.Unix(0, past[Kept-1].TimeNano)); len(again) != 1 {
		t.Errorf("%d events since the last one's time, want 1", len(again))
	}
	if none, _ := b.Subscribe(ctx, time.Time{}); none != nil {
		t.Errorf("without since: %d events", len(none))
	}
	attributes := map[string]string{"name": "x"}
	b.Publish(events.ImageEventType, events.ActionTag, "id", attributes)
	attributes["name"] = "changed"
	if m := <-live; m.Actor.Attributes["name"] != "x" || m.Action != events.ActionTag {
		t.Errorf("got %+v", m)
	}
	cancel()
	for range live {
	}
	for deadline := time.Now().Add(10 * time.Second); b.Listeners() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d listeners left", b.Listeners())
		}
	}
}

// Who does not read is dropped, and nobody waits for him.
func TestSlowListener(t *testing.T) {
	var b Broker
	_, live := b.Subscribe(t.Context(), time.Time{})
	for range backlog + 2 {
		b.Publish(events.ContainerEventType, events.ActionStart, "x", nil)
	}
	n := 0
	for range live {
		n++
	}
	if n != backlog || b.Listeners() != 0 {
		t.Errorf("%d events and %d listeners, want %d and 0", n, b.Listeners(), backlog)
	}
}
