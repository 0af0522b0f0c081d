package agent

// Classes of errors that cross the channel. They are few, because each is
// something that the caller does differently.
const (
	ClassInternal      = "internal"       // the agent or its kernel failed
	ClassInvalid       = "invalid"        // the request cannot be carried out as it is
	ClassNoContainer   = "no-container"   // no such container, process or path
	ClassConflict      = "conflict"       // the container is in the wrong state
	ClassNotFound      = "not-found"      // the workload's program does not exist: exit code 127
	ClassNotExecutable = "not-executable" // it exists and cannot be executed: exit code 126
)

// Error is what an agent answers instead of a response. Message is for people.
type Error struct {
	Class   string
	Message string
}

func (e *Error) Error() string { return e.Message }

// Is makes errors.Is(err, &Error{Class: c}) true for every error of class c.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Class == e.Class && (t.Message == "" || t.Message == e.Message)
}
