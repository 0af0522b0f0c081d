package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Options say what Read shows.
type Options struct {
	Stdout, Stderr bool
	// Timestamps puts the time before each line, as `docker logs -t` does.
	Timestamps bool
	// Since and Until bound the frames' times; zero values do not.
	Since, Until time.Time
	// Tail is the number of last lines to begin with; negative means all.
	Tail int
	// Follow waits for more until it is closed, which says that no more will
	// be written. With nil, Read shows what is there and returns.
	Follow <-chan struct{}
}

// Read shows a log in order. emit gets a part of one line or a whole one, its
// newline included; p is its own only until it returns, and its error ends
// Read. Read returns nil at the end of the log, also of one that does not
// exist and is not followed, and ctx's error when that ends first. It holds no
// more than one frame in memory, however long the log or its lines.
func Read(ctx context.Context, path string, o Options, emit func(stream byte, p []byte) error) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the log: %w", err)
	}
	defer f.Close()
	return read(ctx, f, o, emit)
}

func read(ctx context.Context, f *os.File, o Options, emit func(stream byte, p []byte) error) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("cannot read the log: %w", err)
	}
	r := &reader{o: o, emit: emit}
	if o.Tail >= 0 {
		r.skip = -1 // count only
		if err := r.run(ctx, newScanner(f, 0), end, nil); err != nil {
			return err
		}
		r = &reader{o: o, emit: emit, skip: max(0, r.lines-int64(o.Tail))}
	}
	return r.run(ctx, newScanner(f, 0), end, o.Follow)
}

// reader shows frames line by line.
type reader struct {
	o     Options
	emit  func(stream byte, p []byte) error
	skip  int64 // lines not to show; negative: none is shown
	lines int64 // begun so far
	// line is, for each stream, the number of the line that is under way, or 0.
	line [3]int64
}

// errUntil says that the rest is later than what was asked for.
var errUntil = errors.New("the rest of the log is later")

// run shows the frames that begin before end, and with follow all that come.
func (r *reader) run(ctx context.Context, s *scanner, end int64, follow <-chan struct{}) error {
	wait := newPoll()
	defer wait.stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if follow == nil && s.off >= end {
			return nil
		}
		h, p, err := s.next()
		switch {
		case err == nil:
			wait.reset()
			if err := r.show(h, p); errors.Is(err, errUntil) {
				return nil
			} else if err != nil {
				return err
			}
			continue
		case !errors.Is(err, io.EOF) && !errors.Is(err, errTorn):
			return fmt.Errorf("cannot read the log: %w", err)
		case follow == nil:
			return nil
		case !r.o.Until.IsZero() && time.Now().After(r.o.Until):
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-follow:
			// What was written before it closed is there now: one last round.
			if end, err = sizeOf(s); err != nil {
				return err
			}
			follow = nil
		case <-wait.next():
		}
	}
}

func sizeOf(s *scanner) (int64, error) {
	info, err := s.src.(*os.File).Stat()
	if err != nil {
		return 0, fmt.Errorf("cannot read the log: %w", err)
	}
	return info.Size(), nil
}

func (r *reader) show(h header, p []byte) error {
	if !r.o.Since.IsZero() && h.at.Before(r.o.Since) {
		return nil
	}
	if !r.o.Until.IsZero() && h.at.After(r.o.Until) {
		return errUntil
	}
	if (h.stream == Stdout && !r.o.Stdout) || (h.stream == Stderr && !r.o.Stderr) {
		return nil
	}
	var stamp []byte
	for len(p) > 0 {
		begins := r.line[h.stream] == 0
		if begins {
			r.lines++
			r.line[h.stream] = r.lines
		}
		shown := r.skip >= 0 && r.line[h.stream] > r.skip
		part := p
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			part = p[:i+1]
			r.line[h.stream] = 0
		}
		p = p[len(part):]
		if !shown {
			continue
		}
		if begins && r.o.Timestamps {
			stamp = append(h.at.AppendFormat(stamp[:0], stampFormat), ' ')
			part = append(stamp, part...)
		}
		if err := r.emit(h.stream, part); err != nil {
			return err
		}
	}
	return nil
}

// stampFormat is RFC 3339 with nine digits of fraction, so that lines align.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"
