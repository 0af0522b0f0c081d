// Package cleanup undoes, in reverse order, what was done before a failure.
package cleanup

// A Stack holds functions that undo steps. The zero value is ready to use. It
// is not safe for concurrent use. The usual form:
//
//	var cu cleanup.Stack
//	defer cu.Clean()
//	... step one; cu.Add(undo one) ...
//	cu.Release()
type Stack struct {
	undo []func()
}

// Add registers f to be run by Clean, before all that was added earlier.
func (s *Stack) Add(f func()) { s.undo = append(s.undo, f) }

// Clean runs what was added, last first, and forgets it.
func (s *Stack) Clean() {
	for len(s.undo) > 0 {
		last := len(s.undo) - 1
		f := s.undo[last]
		s.undo = s.undo[:last]
		f()
	}
}

// Release forgets what was added, because all steps have succeeded, and
// returns a function that runs it after all, for a caller who now owns it.
func (s *Stack) Release() func() {
	owned := Stack{undo: s.undo}
	s.undo = nil
	return owned.Clean
}
