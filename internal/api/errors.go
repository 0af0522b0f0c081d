package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/common"
)

// statuses is the one table from errors to HTTP statuses. The first match
// counts. A wrong state is 409, as Docker's documentation has it, whichever of
// the two sentinels says so.
var statuses = []struct {
	err    error
	status int
}{
	{errdefs.ErrNotModified, http.StatusNotModified},
	{errdefs.ErrNotFound, http.StatusNotFound},
	{errdefs.ErrInvalidArgument, http.StatusBadRequest},
	{errdefs.ErrOutOfRange, http.StatusBadRequest},
	{errdefs.ErrConflict, http.StatusConflict},
	{errdefs.ErrAlreadyExists, http.StatusConflict},
	{errdefs.ErrFailedPrecondition, http.StatusConflict},
	{errdefs.ErrAborted, http.StatusConflict},
	{errdefs.ErrUnauthenticated, http.StatusUnauthorized},
	{errdefs.ErrPermissionDenied, http.StatusForbidden},
	{errdefs.ErrNotImplemented, http.StatusNotImplemented},
	{errdefs.ErrUnavailable, http.StatusServiceUnavailable},
	{errdefs.ErrResourceExhausted, http.StatusServiceUnavailable},
	{errors.ErrUnsupported, http.StatusNotImplemented},
	{errdefs.ErrInternal, http.StatusInternalServerError},
	{errdefs.ErrDataLoss, http.StatusInternalServerError},
	{os.ErrDeadlineExceeded, http.StatusRequestTimeout}, // of a connection: see upload
	{context.DeadlineExceeded, http.StatusGatewayTimeout},
	{context.Canceled, http.StatusServiceUnavailable}, // the daemon ends; or the client has, and will not see it
}

// status returns the HTTP status for an error that is not nil: 500 for one
// that says nothing of its class.
func status(err error) int {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// text is an error's message without the names of classes that wrapping put at
// its ends: "no such container: x", not "no such container: x: not found".
func text(err error) string {
	s := err.Error()
	for _, c := range statuses {
		class := c.err.Error()
		if cut, ok := strings.CutSuffix(s, ": "+class); ok && errors.Is(err, c.err) {
			return cut
		}
		if cut, ok := strings.CutPrefix(s, class+": "); ok && errors.Is(err, c.err) {
			return cut
		}
	}
	return s
}

// writeError answers with err as Docker does: {"message": …}. A 304 has no body.
func writeError(w http.ResponseWriter, err error) {
	code := status(err)
	if code == http.StatusNotModified {
		w.WriteHeader(code)
		return
	}
	w.Header().Del("Content-Length")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	body, merr := json.Marshal(common.ErrorResponse{Message: text(err)})
	if merr != nil {
		return // a string always marshals
	}
	_, _ = w.Write(append(body, '\n')) // a client that is gone needs no error
}

// apiError is an error of a class with a message of its own, without the
// class's name in it.
type apiError struct {
	class   error
	message string
}

func (e *apiError) Error() string { return e.message }
func (e *apiError) Unwrap() error { return e.class }

func invalid(message string) error  { return &apiError{errdefs.ErrInvalidArgument, message} }
func notFound(message string) error { return &apiError{errdefs.ErrNotFound, message} }

// later is the error for what a later version will do. what follows "cannot",
// as in "create networks"; instead, when not empty, says what to do now.
func later(what, instead string) error {
	message := "abode cannot " + what + " yet; a later version will"
	if instead != "" {
		message += ". " + instead
	}
	return &apiError{errdefs.ErrNotImplemented, message}
}
