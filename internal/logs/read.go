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
	// Details, unless nil, is put before each line, behind the time.
	Details *string
	// Since and Until bound the frames' times; zero values do not.
	Since, Until time.Time
	// Tail is the number of last lines to begin with; negative means all.
	Tail int
	// Follow waits for more until it is closed, which says that no more will
	// be written. With nil, Read shows what is there and returns.
	Follow <-chan struct{}
}

// Read shows a log in order. Of one that is trimmed faster than emit takes it,
// what is dropped meanwhile is skipped, and a line that was begun ends there.
// emit gets a part of one line or a whole one, its newline included; p is its
// own only until it returns, and its error ends Read. Read returns nil at the end of the log, also of one that does not
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
	return read(ctx, &source{File: f, path: path}, o, emit)
}

// tailTries is how often the last lines are looked for in a log that is trimmed
// meanwhile.
const tailTries = 10

func read(ctx context.Context, src *source, o Options, emit func(stream byte, p []byte) error) error {
	for try := 1; ; try++ {
		begin, err := src.begin()
		if err != nil {
			return fmt.Errorf("cannot read the log: %w", err)
		}
		end, err := src.size()
		if err != nil {
			return err
		}
		r := &reader{o: o, emit: emit}
		if o.Tail >= 0 && try <= tailTries {
			r.within(begin)
			r.skip, r.strict = -1, true // count only
			err := r.run(ctx, src, begin.start, end, nil)
			if errors.Is(err, errOvertaken) {
				continue
			}
			if err != nil {
				return err
			}
			r = &reader{o: o, emit: emit, skip: max(0, r.lines-int64(o.Tail)), strict: true}
		}
		r.within(begin)
		err = r.run(ctx, src, begin.start, end, o.Follow)
		if !errors.Is(err, errOvertaken) {
			return err
		}
	}
}

// reader shows frames line by line.
type reader struct {
	o     Options
	emit  func(stream byte, p []byte) error
	skip  int64 // lines not to show; negative: none is shown
	lines int64 // begun so far
	// line is, for each stream, the number of the line that is under way, or 0.
	line [3]int64
	// rest is, for each stream, how many bytes may be the rest of a line that
	// began in what is not there any more. They are not shown.
	rest [3]int
	// strict makes a trim under it an error as long as nothing was shown,
	// because skip has no meaning then.
	strict bool
}

// restMax bounds what is taken for the rest of a line: output may have none.
const restMax = 16 << 10

// within is told where the reader begins.
func (r *reader) within(m mark) {
	for _, stream := range []byte{Stdout, Stderr} {
		r.rest[stream] = 0
		if m.within&(1<<stream) != 0 {
			r.rest[stream] = restMax
		}
	}
}

// skipped ends the lines that were under way when frames were missed.
func (r *reader) skipped() error {
	for _, stream := range []byte{Stdout, Stderr} {
		shown := r.line[stream] > r.skip && r.skip >= 0
		if r.line[stream] == 0 {
			continue
		}
		r.line[stream] = 0
		if !shown {
			continue
		}
		if err := r.emit(stream, []byte{'\n'}); err != nil {
			return err
		}
	}
	return nil
}

// errUntil says that the rest is later than what was asked for.
var errUntil = errors.New("the rest of the log is later")

// run shows the frames that begin at start and before end, and with follow all
// that come. Where a trim overtakes it, it goes on with what there is then.
func (r *reader) run(ctx context.Context, src *source, start, end int64, follow <-chan struct{}) error {
	s := newScanner(src, start)
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
		case errors.Is(err, errOvertaken):
			if r.strict && s.off < end {
				return err
			}
			if err := r.skipped(); err != nil {
				return err
			}
			begin, err := src.begin()
			if err != nil {
				return fmt.Errorf("cannot read the log: %w", err)
			}
			r.within(begin)
			s.seek(begin.start)
			s.lost = false
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
			if end, err = src.size(); err != nil {
				return err
			}
			follow = nil
		case <-wait.next():
		}
	}
}

func (s *source) size() (int64, error) {
	info, err := s.Stat()
	if err != nil {
		return 0, fmt.Errorf("cannot read the log: %w", err)
	}
	return info.Size(), nil
}

func (r *reader) show(h header, p []byte) error {
	p = r.drop(h.stream, p)
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
		r.strict = false
		if begins && (r.o.Timestamps || r.o.Details != nil) {
			stamp = stamp[:0]
			if r.o.Timestamps {
				stamp = append(h.at.AppendFormat(stamp, stampFormat), ' ')
			}
			if r.o.Details != nil {
				stamp = append(append(stamp, *r.o.Details...), ' ')
			}
			part = append(stamp, part...)
		}
		if err := r.emit(h.stream, part); err != nil {
			return err
		}
	}
	return nil
}

// drop leaves out the rest of a line whose beginning is gone.
func (r *reader) drop(stream byte, p []byte) []byte {
	if r.rest[stream] == 0 {
		return p
	}
	if i := bytes.IndexByte(p, '\n'); i >= 0 && i < r.rest[stream] {
		r.rest[stream] = 0
		return p[i+1:]
	}
	n := min(len(p), r.rest[stream])
	r.rest[stream] -= n
	return p[n:]
}

// stampFormat is RFC 3339 with nine digits of fraction, so that lines align.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"
