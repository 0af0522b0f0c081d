package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// filters is the predicate of a list or prune request: each term has a set of
// values; an item must match one value of every term.
type filters map[string]map[string]bool

// readFilters reads the parameter "filters" in both of its forms, a map of
// sets ({"label":{"a":true}}) and the older map of lists ({"label":["a"]}).
// Terms that are not accepted are an error, so that a misspelt one never
// widens what is deleted.
func readFilters(r *http.Request, accepted ...string) (filters, error) {
	f, err := parseFilters(r.URL.Query().Get("filters"))
	if err != nil {
		return nil, err
	}
	for term := range f {
		if !slices.Contains(accepted, term) {
			return nil, invalid(fmt.Sprintf("invalid filter '%s'", term))
		}
	}
	return f, nil
}

func parseFilters(s string) (filters, error) {
	f := filters{}
	if s == "" {
		return f, nil
	}
	var terms map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &terms); err != nil {
		return nil, invalid("invalid filter: the parameter must be a JSON object: " + err.Error())
	}
	for term, raw := range terms {
		var set map[string]bool
		if err := json.Unmarshal(raw, &set); err != nil {
			var list []string
			if err := json.Unmarshal(raw, &list); err != nil {
				return nil, invalid(fmt.Sprintf("invalid filter '%s': its values must be a list of strings or an object of booleans", term))
			}
			set = make(map[string]bool, len(list))
			for _, v := range list {
				set[v] = true
			}
		}
		for v := range set {
			set[v] = true // as dockerd: that a value is there counts
		}
		if len(set) > 0 {
			f[term] = set
		}
	}
	return f, nil
}

// values lists a term's values, sorted.
func (f filters) values(term string) []string {
	vs := make([]string, 0, len(f[term]))
	for v := range f[term] {
		vs = append(vs, v)
	}
	slices.Sort(vs)
	return vs
}

// boolean reads a term that is true or false; absent when it is not given.
func (f filters) boolean(term string, absent bool) (bool, error) {
	vs := f.values(term)
	switch len(vs) {
	case 0:
		return absent, nil
	case 1:
		switch vs[0] {
		case "1", "true":
			return true, nil
		case "0", "false":
			return false, nil
		}
	}
	return false, invalid(fmt.Sprintf("invalid filter '%s=%s': it is either true or false", term, strings.Join(vs, ",")))
}

// any says whether match is true for one of a term's values, or there are none.
func (f filters) any(term string, match func(value string) bool) bool {
	if len(f[term]) == 0 {
		return true
	}
	for v := range f[term] {
		if match(v) {
			return true
		}
	}
	return false
}

// labels says whether labels match every value of "label" ("key" or
// "key=value") and none of "label!".
func (f filters) labels(labels map[string]string) bool {
	for v := range f["label"] {
		if !hasLabel(labels, v) {
			return false
		}
	}
	for v := range f["label!"] {
		if hasLabel(labels, v) {
			return false
		}
	}
	return true
}

func hasLabel(labels map[string]string, want string) bool {
	key, value, exact := strings.Cut(want, "=")
	got, ok := labels[key]
	return ok && (!exact || got == value)
}

// until reads the term "until" of prune requests: a moment, or how long before
// now, such as 24h.
func (f filters) until(now time.Time) (time.Time, error) {
	vs := f.values("until")
	switch len(vs) {
	case 0:
		return time.Time{}, nil
	case 1:
	default:
		return time.Time{}, invalid("invalid filter 'until': more than one until filter specified")
	}
	if d, err := time.ParseDuration(vs[0]); err == nil {
		return now.Add(-d), nil
	}
	if _, err := strconv.ParseFloat(vs[0], 64); err == nil || strings.Contains(vs[0], "T") {
		if t, err := parseTime(vs[0]); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, vs[0], now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, invalid(fmt.Sprintf("invalid filter 'until=%s': give a time or a duration such as 24h", vs[0]))
}

// matchReference says whether an image's familiar name matches a pattern such
// as "nginx", "nginx:1.*" or "example.com/*/app".
func matchReference(pattern, name string) bool {
	if ok, _ := path.Match(pattern, name); ok {
		return true
	}
	repository := name
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		repository = name[:i]
	}
	ok, _ := path.Match(pattern, repository)
	return ok
}
