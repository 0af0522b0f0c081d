package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

// errVerify is for content that is not what its digest, its size or the config
// says. It is never retried, and nothing of the pull stays.
var errVerify = errors.New("verification failed")

// localError is a failure on this machine while something was fetched.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

// transient says whether an attempt that failed with err is worth another.
func transient(err error) bool {
	var local localError
	if errors.Is(err, errVerify) || errors.As(err, &local) ||
		errors.Is(err, docker.ErrInvalidAuthorization) || errdefs.IsNotFound(err) ||
		errdefs.IsInvalidArgument(err) || errdefs.IsFailedPrecondition(err) ||
		errdefs.IsNotImplemented(err) || isCertificate(err) {
		return false
	}
	var status remoteerrors.ErrUnexpectedStatus
	if errors.As(err, &status) {
		c := status.StatusCode
		return c == http.StatusRequestTimeout || c == http.StatusTooManyRequests || c >= 500
	}
	return true
}

// explain makes of an error from fetching one that says what to do, and gives
// it its class.
func (r *remote) explain(err error) error {
	var local localError
	if errors.As(err, &local) || errors.Is(err, errVerify) || errdefs.IsInvalidArgument(err) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	login := fmt.Sprintf("check the name or run `abode login%s`", loginHost(r.host))
	var status remoteerrors.ErrUnexpectedStatus
	if errors.As(err, &status) {
		says := registryMessage(status)
		switch status.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("the registry says %q; %s: %w", says, login, errdefs.ErrPermissionDenied)
		case http.StatusNotFound:
			return fmt.Errorf("the registry says %q; %s: %w", says, login, errdefs.ErrNotFound)
		case http.StatusTooManyRequests:
			return fmt.Errorf("the registry says %q; wait, or raise the limit with `abode login%s`: %w", says, loginHost(r.host), errdefs.ErrUnavailable)
		default:
			return fmt.Errorf("the registry says %q; try again later: %w", says, errdefs.ErrUnavailable)
		}
	}
	switch {
	case errors.Is(err, docker.ErrInvalidAuthorization) || strings.Contains(err.Error(), "failed to authorize"):
		return fmt.Errorf("the registry asks for a login or refuses the one it was given; %s: %w: %w", login, err, errdefs.ErrPermissionDenied)
	case errdefs.IsNotFound(err):
		return fmt.Errorf("the registry %s knows no such image; %s: %w", r.host, login, errdefs.ErrNotFound)
	case errdefs.IsNotImplemented(err):
		return err
	case isCertificate(err):
		return fmt.Errorf("the certificate of %s is not trusted; if it is your own, name its CA in a hosts.toml: %w: %w", r.host, err, errdefs.ErrUnavailable)
	default:
		return fmt.Errorf("the registry %s cannot be reached or breaks off; check the name and the network: %w: %w", r.host, err, errdefs.ErrUnavailable)
	}
}

// registryMessage is what the registry says in its own words, else the HTTP
// status.
func registryMessage(e remoteerrors.ErrUnexpectedStatus) string {
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(e.Body, &body) == nil && len(body.Errors) > 0 {
		if m := body.Errors[0]; m.Message != "" {
			return clean(m.Message)
		} else if m.Code != "" {
			return clean(m.Code)
		}
	}
	return clean(e.Status)
}

// isCertificate says whether err is about the registry's TLS certificate.
func isCertificate(err error) bool {
	var op *net.OpError
	s := err.Error()
	return strings.Contains(s, "x509:") || errors.As(err, &op) && op.Op == "remote error" && strings.Contains(s, "certificate")
}
