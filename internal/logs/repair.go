package logs

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Repair cuts off the unfinished frame that a kernel which died may have left
// at the end of a log, so that what is appended from now on is read right. A
// log that does not exist is made, empty, with the given mode. Nothing may be
// writing to it.
func Repair(path string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, mode)
	if err != nil {
		return fmt.Errorf("cannot open the log: %w", err)
	}
	defer f.Close()
	s := newScanner(f, 0)
	for {
		_, _, err := s.next()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTorn):
			if err := f.Truncate(s.off); err != nil {
				return fmt.Errorf("cannot repair the log: %w", err)
			}
			return nil
		default:
			return fmt.Errorf("cannot read the log: %w", err)
		}
	}
}
