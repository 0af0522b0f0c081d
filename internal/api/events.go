package api

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/events"
)

// eventFilters are the terms of GET /events.
var eventFilters = []string{
	"config", "container", "daemon", "event", "image", "label", "network", "node",
	"plugin", "scope", "secret", "service", "type", "volume",
}

// events sends what happens, one JSON document for each, from since on until
// until, or for ever.
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	since, err := queryTime(r, "since")
	if err != nil {
		return err
	}
	until, err := queryTime(r, "until")
	if err != nil {
		return err
	}
	if !until.IsZero() && until.Before(since) {
		return invalid("`since` must be before `until`")
	}
	f, err := readFilters(r, eventFilters...)
	if err != nil {
		return err
	}
	from := since
	if from.IsZero() && !until.IsZero() {
		from = time.Unix(0, 1) // as dockerd: with an end alone, all that is remembered
	}
	past, live := s.engine.Events().Subscribe(r.Context(), from)

	var end <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(max(time.Until(until), 0))
		defer t.Stop()
		end = t.C
	}
	out := newFlushed(w, eventsType(r))
	enc := &lines{w: out}
	if w.Header().Get("Content-Type") == types.MediaTypeJSONSequence {
		enc.before = "\x1e"
	}
	send := func(m events.Message) error {
		if !until.IsZero() && time.Unix(0, m.TimeNano).After(until) || !matchEvent(f, m) {
			return nil
		}
		if requested(r).before(52) {
			return enc.write(oldEvent(m))
		}
		return enc.write(m)
	}
	for _, m := range past {
		if err := send(m); err != nil {
			return err
		}
	}
	for {
		select {
		case m, ok := <-live:
			if !ok && r.Context().Err() == nil {
				return errors.New("the client reads events more slowly than they happen; it may ask again with since")
			}
			if !ok {
				return nil
			}
			if err := send(m); err != nil {
				return err
			}
		case <-end:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// eventsType picks the stream's format: the first that the client accepts.
func eventsType(r *http.Request) string {
	if !requested(r).before(52) {
		for _, accept := range r.Header.Values("Accept") {
			for part := range strings.SplitSeq(accept, ",") {
				t, _, _ := strings.Cut(part, ";")
				switch t = strings.TrimSpace(t); t {
				case types.MediaTypeJSONSequence, types.MediaTypeNDJSON, types.MediaTypeJSONLines, types.MediaTypeJSON:
					return t
				}
			}
		}
	}
	return types.MediaTypeJSON
}

// matchEvent applies the terms as dockerd does: names match by the object's ID
// (or its beginning, for containers) or name, labels by the attributes.
func matchEvent(f filters, m events.Message) bool {
	name := m.Actor.Attributes["name"]
	named := func(term string, of events.Type) bool {
		return len(f[term]) == 0 || m.Type == of && f.any(term, func(v string) bool {
			return v == m.Actor.ID || v == name || of == events.ContainerEventType && strings.HasPrefix(m.Actor.ID, v)
		})
	}
	return f.any("event", func(v string) bool {
		action := string(m.Action)
		// exec_create: sh -c … and health_status: healthy match their first word too.
		before, _, found := strings.Cut(action, ":")
		return v == action || found && v == before
	}) &&
		f.any("type", func(v string) bool { return v == string(m.Type) }) &&
		f.any("scope", func(v string) bool { return v == m.Scope }) &&
		(len(f["label"]) == 0 || f.labels(m.Actor.Attributes)) &&
		named("container", events.ContainerEventType) &&
		named("volume", events.VolumeEventType) &&
		named("network", events.NetworkEventType) &&
		named("daemon", events.DaemonEventType) &&
		named("plugin", events.PluginEventType) &&
		named("service", events.ServiceEventType) &&
		named("node", events.NodeEventType) &&
		named("secret", events.SecretEventType) &&
		named("config", events.ConfigEventType) &&
		f.any("image", func(v string) bool { return matchEventImage(v, m) })
}

// matchEventImage matches images' own events and those of their containers.
func matchEventImage(want string, m events.Message) bool {
	names := []string{}
	switch m.Type {
	case events.ImageEventType:
		names = append(names, m.Actor.ID, m.Actor.Attributes["name"])
	case events.ContainerEventType:
		names = append(names, m.Actor.Attributes["image"])
	}
	for _, n := range names {
		if n == want || n != "" && strings.HasPrefix(n, want+":") {
			return true
		}
	}
	return false
}
