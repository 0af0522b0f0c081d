// Package events tells those who listen what happens to containers, images
// and volumes, in the words of the Docker API.
package events

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
)

// Kept is how many past events a Broker remembers.
const Kept = 1000

// backlog is how far a listener may fall behind before it is dropped.
const backlog = 4096

// Broker passes events on. The zero value is ready to use. Its methods may be
// called concurrently and never block on a listener.
type Broker struct {
	mu        sync.Mutex
	past      []events.Message // a ring once it is full; next is its oldest
	next      int
	listeners map[chan events.Message]struct{}
	last      int64
}

// Publish tells that action happened to the object id of kind t. The
// attributes are copied. Times of events strictly increase.
func (b *Broker) Publish(t events.Type, action events.Action, id string, attributes map[string]string) {
	attributes = maps.Clone(attributes)
	if attributes == nil {
		attributes = map[string]string{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = max(time.Now().UnixNano(), b.last+1)
	m := events.Message{
		Type:     t,
		Action:   action,
		Actor:    events.Actor{ID: id, Attributes: attributes},
		Scope:    "local",
		Time:     b.last / int64(time.Second),
		TimeNano: b.last,
	}
	if len(b.past) < Kept {
		b.past = append(b.past, m)
	} else {
		b.past[b.next] = m
		b.next = (b.next + 1) % Kept
	}
	for l := range b.listeners {
		select {
		case l <- m:
		default:
			// A hole would be worse than an end: the listener comes again with since.
			delete(b.listeners, l)
			close(l)
		}
	}
}

// Subscribe returns the remembered events that are not older than since, none
// when since is zero, and a channel of all that follow without a hole between.
// The channel is closed when ctx ends or the listener is too slow.
func (b *Broker) Subscribe(ctx context.Context, since time.Time) (past []events.Message, live <-chan events.Message) {
	l := make(chan events.Message, backlog)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !since.IsZero() {
		for i := range b.past {
			m := b.past[(b.next+i)%len(b.past)]
			if m.TimeNano >= since.UnixNano() {
				past = append(past, m)
			}
		}
	}
	if b.listeners == nil {
		b.listeners = map[chan events.Message]struct{}{}
	}
	b.listeners[l] = struct{}{}
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.listeners[l]; ok {
			delete(b.listeners, l)
			close(l)
		}
	})
	return past, l
}

// Listeners counts who listens.
func (b *Broker) Listeners() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.listeners)
}
