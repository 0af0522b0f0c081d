package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/abode-run/abode/internal/agent"
)

// classed is an error of one of errdefs' classes whose text is Docker's own,
// without the class's name in it: clients look at these texts.
type classed struct {
	class error
	text  string
	cause error
}

func (e *classed) Error() string { return e.text }

func (e *classed) Unwrap() []error {
	if e.cause == nil {
		return []error{e.class}
	}
	return []error{e.class, e.cause}
}

func errorf(class error, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &classed{class: class, text: err.Error(), cause: errors.Unwrap(err)}
}

func invalid(format string, args ...any) error {
	return errorf(errdefs.ErrInvalidArgument, format, args...)
}

func conflict(format string, args ...any) error {
	return errorf(errdefs.ErrConflict, format, args...)
}

func notFound(format string, args ...any) error {
	return errorf(errdefs.ErrNotFound, format, args...)
}

// later refuses what this version does not do. A client learns it before
// anything has happened, rather than that an option had no effect.
func later(format string, args ...any) error {
	return errorf(errdefs.ErrNotImplemented, format+" is not supported by this version of abode", args...)
}

// instead is later with what the user can do now.
func instead(hint, format string, args ...any) error {
	err := later(format, args...)
	return errorf(errdefs.ErrNotImplemented, "%s: %s", err, hint)
}

var errNotModified = &classed{class: errdefs.ErrNotModified, text: "not modified"}

// fromAgent turns an agent's error into one of the engine's.
func fromAgent(err error) error {
	var a *agent.Error
	if !errors.As(err, &a) {
		return err
	}
	switch a.Class {
	case agent.ClassInvalid, agent.ClassNotFound, agent.ClassNotExecutable:
		return invalid("%s", a.Message)
	case agent.ClassNoContainer:
		return notFound("%s", a.Message)
	case agent.ClassConflict:
		return conflict("%s", a.Message)
	}
	return err
}

// startFailure turns an agent's refusal to start a program into the text from
// which clients tell exit codes, and that code: 127 when the program does not
// exist, 126 when it cannot be executed, and for all else fallback.
func startFailure(err error, fallback int) (int, error) {
	var a *agent.Error
	if !errors.As(err, &a) {
		return fallback, err
	}
	text := a.Message
	switch a.Class {
	case agent.ClassNotFound:
		if !strings.Contains(text, "executable file not found") && !strings.Contains(text, "no such file or directory") {
			text += ": no such file or directory"
		}
		return 127, invalid("%s", text)
	case agent.ClassNotExecutable:
		if !strings.Contains(text, "permission denied") && !strings.Contains(text, "is a directory") {
			text += ": permission denied"
		}
		return 126, invalid("%s", text)
	}
	return fallback, fromAgent(err)
}

// plain is an error's text without the names of its classes at the end, which
// are for programs.
func plain(err error) string {
	text := err.Error()
	for {
		cut := text
		for _, class := range []error{errdefs.ErrFailedPrecondition, errdefs.ErrNotFound, errdefs.ErrInvalidArgument, errdefs.ErrUnavailable} {
			cut = strings.TrimSuffix(cut, ": "+class.Error())
		}
		if cut == text {
			return text
		}
		text = cut
	}
}
