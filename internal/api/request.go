package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

const (
	// maxJSON bounds a JSON body, in bytes.
	maxJSON = 8 << 20
	// bodyTime is how long a client may take to send a JSON body.
	bodyTime = 30 * time.Second
)

// readJSON reads a request's body, one JSON document, into v. An absent body
// leaves v as it is. Fields that v does not have are ignored, because clients
// of other versions send them.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return invalid(fmt.Sprintf("unsupported Content-Type header (%s): must be 'application/json'", r.Header.Get("Content-Type")))
	}
	if r.ContentLength > maxJSON {
		return &http.MaxBytesError{Limit: maxJSON}
	}
	rc := http.NewResponseController(w)
	if rc.SetReadDeadline(time.Now().Add(bodyTime)) == nil {
		defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJSON))
	if err := dec.Decode(v); err != nil {
		return badJSON(err)
	}
	switch err := dec.Decode(new(json.RawMessage)); {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return invalid("unexpected content after JSON")
	default:
		return badJSON(err)
	}
}

func badJSON(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return err
	case errors.Is(err, io.EOF):
		return invalid("invalid JSON: got EOF while reading request body")
	default:
		return &apiError{errdefs.ErrInvalidArgument, "invalid JSON: " + err.Error()}
	}
}

// writeJSON answers with v. The content type has no parameters: the Go client
// compares it as it is.
func writeJSON(w http.ResponseWriter, code int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode the response: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, err = w.Write(append(body, '\n'))
	return err
}

// queryBool reads a parameter as Docker does: everything but "", "0", "no",
// "false" and "none" is true.
func queryBool(r *http.Request, name string) bool {
	switch strings.ToLower(strings.TrimSpace(r.URL.Query().Get(name))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// queryBoolOr is queryBool with a value for an absent parameter.
func queryBoolOr(r *http.Request, name string, absent bool) bool {
	if !r.URL.Query().Has(name) {
		return absent
	}
	return queryBool(r, name)
}

// queryInt reads a whole number; nil when the parameter is absent or empty.
func queryInt(r *http.Request, name string) (*int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil, invalid(fmt.Sprintf("invalid value %q for parameter %s: it must be a whole number", s, name))
	}
	return &n, nil
}

// querySize reads h and w of a terminal.
func querySize(r *http.Request) (width, height uint, err error) {
	read := func(name string) uint {
		s := r.URL.Query().Get(name)
		n, perr := strconv.ParseUint(s, 10, 16)
		if perr != nil && err == nil {
			err = invalid(fmt.Sprintf("invalid resize %s %q: it must be a whole number up to 65535", map[string]string{"h": "height", "w": "width"}[name], s))
		}
		return uint(n)
	}
	height, width = read("h"), read("w")
	return width, height, err
}

// queryTime reads a moment: seconds since 1970 with up to nine decimals, or
// RFC 3339. It is zero when the parameter is absent, empty or "0".
func queryTime(r *http.Request, name string) (time.Time, error) {
	s := r.URL.Query().Get(name)
	t, err := parseTime(s)
	if err != nil {
		return time.Time{}, invalid(fmt.Sprintf("invalid value %q for parameter %s: %v", s, name, err))
	}
	return t, nil
}

func parseTime(s string) (time.Time, error) {
	if s == "" || s == "0" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec > math.MaxInt64/int64(time.Second) || sec < math.MinInt64/int64(time.Second) {
		return time.Time{}, errors.New("it must be seconds since 1970 or an RFC 3339 time")
	}
	if len(fraction) > 9 {
		fraction = fraction[:9]
	}
	var nanos int64
	if fraction != "" {
		n, err := strconv.ParseUint(fraction, 10, 32)
		if err != nil {
			return time.Time{}, errors.New("it must be seconds since 1970 or an RFC 3339 time")
		}
		nanos = int64(n)
		for i := len(fraction); i < 9; i++ {
			nanos *= 10
		}
		if strings.HasPrefix(whole, "-") {
			nanos = -nanos
		}
	}
	return time.Unix(sec, nanos), nil
}
