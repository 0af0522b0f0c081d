package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)

func write(t *testing.T, frames ...any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	var b bytes.Buffer
	n := 0
	for _, f := range frames {
		switch f := f.(type) {
		case []byte: // raw
			b.Write(f)
		case string: // "o:…" or "e:…"
			stream := byte(Stdout)
			if f[0] == 'e' {
				stream = Stderr
			}
			if err := Append(&b, stream, t0.Add(time.Duration(n)*time.Second), []byte(f[2:])); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func show(t *testing.T, path string, o Options) string {
	t.Helper()
	var out strings.Builder
	err := Read(t.Context(), path, o, func(s byte, p []byte) error {
		if s == Stderr {
			out.WriteByte('!')
		}
		out.Write(p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestRead(t *testing.T) {
	both := Options{Stdout: true, Stderr: true, Tail: -1}
	with := func(f func(o *Options)) Options { o := both; f(&o); return o }
	frames := []any{"o:one\ntwo\nth", "e:bad\n", "o:ree\n", "e:worse\n", "o:end"}
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"all", both, "one\ntwo\nth!bad\nree\n!worse\nend"},
		{"stdout", with(func(o *Options) { o.Stderr = false }), "one\ntwo\nthree\nend"},
		{"stderr", with(func(o *Options) { o.Stdout = false }), "!bad\n!worse\n"},
		{"tail 0", with(func(o *Options) { o.Tail = 0 }), ""},
		{"tail 2", with(func(o *Options) { o.Tail = 2 }), "!worse\nend"},
		{"tail 4 begins within a line of two frames", with(func(o *Options) { o.Tail = 4 }), "th!bad\nree\n!worse\nend"},
		{"tail more", with(func(o *Options) { o.Tail = 99 }), "one\ntwo\nth!bad\nree\n!worse\nend"},
		{"tail of stdout", with(func(o *Options) { o.Tail, o.Stderr = 2, false }), "three\nend"},
		{"since", with(func(o *Options) { o.Since = t0.Add(3 * time.Second) }), "!worse\nend"},
		{"until", with(func(o *Options) { o.Until = t0.Add(time.Second) }), "one\ntwo\nth!bad\n"},
		{"since, tail", with(func(o *Options) { o.Since, o.Tail = t0.Add(time.Second), 1 }), "end"},
		{"timestamps", with(func(o *Options) { o.Timestamps, o.Stderr = true, false }),
			"2026-03-01T12:00:00.000000005Z one\n2026-03-01T12:00:00.000000005Z two\n2026-03-01T12:00:00.000000005Z three\n2026-03-01T12:00:04.000000005Z end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := show(t, write(t, frames...), c.o); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestReadMissing(t *testing.T) {
	if got := show(t, filepath.Join(t.TempDir(), "none"), Options{Stdout: true, Tail: -1}); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestGarbage(t *testing.T) {
	all := Options{Stdout: true, Stderr: true, Tail: -1}
	var frame bytes.Buffer
	if err := Append(&frame, Stdout, t0, []byte("torn line\n")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		frames []any
		want   string
	}{
		{"zeros", []any{"o:a\n", make([]byte, 5000), "o:b\n"}, "a\nb\n"},
		{"text", []any{[]byte(strings.Repeat("no frame at all\n", 20000)), "o:b\n"}, "b\n"},
		{"a length without end", []any{"o:a\n", []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, "o:b\n"}, "a\nb\n"},
		{"torn header at the end", []any{"o:a\n", frame.Bytes()[:7]}, "a\n"},
		{"torn payload at the end", []any{"o:a\n", frame.Bytes()[:frame.Len()-3]}, "a\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := show(t, write(t, c.frames...), all); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRepair(t *testing.T) {
	var frame bytes.Buffer
	if err := Append(&frame, Stdout, t0, []byte("torn line\n")); err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < frame.Len(); cut++ {
		path := write(t, "o:a\n", frame.Bytes()[:cut])
		if err := Repair(path, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := Append(f, Stdout, t0, []byte("b\n")); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got := show(t, path, Options{Stdout: true, Tail: -1}); got != "a\nb\n" {
			t.Fatalf("cut at %d: got %q", cut, got)
		}
	}
}

// A follower gets every byte in order, those included that were written just
// before the end was told.
func TestFollow(t *testing.T) {
	path := write(t)
	done := make(chan struct{})
	const lines = 3000
	go func() {
		defer close(done)
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		for i := range lines {
			var frame bytes.Buffer
			Append(&frame, Stdout, time.Now(), fmt.Appendf(nil, "%d\n", i))
			// In two writes, as a hypervisor may.
			f.Write(frame.Bytes()[:3])
			if i%1000 == 0 {
				time.Sleep(20 * time.Millisecond)
			}
			f.Write(frame.Bytes()[3:])
		}
	}()
	got := strings.Split(show(t, path, Options{Stdout: true, Tail: -1, Follow: done}), "\n")
	if len(got) != lines+1 {
		t.Fatalf("%d lines, want %d", len(got)-1, lines)
	}
	for i := range lines {
		if got[i] != fmt.Sprint(i) {
			t.Fatalf("line %d is %q", i, got[i])
		}
	}
}

func TestFollowCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Read(ctx, write(t, "o:a\n"), Options{Stdout: true, Tail: -1, Follow: make(chan struct{})}, func(byte, []byte) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestAppendLong(t *testing.T) {
	long := strings.Repeat("x", 3*MaxPayload+17)
	if got := show(t, write(t, "o:"+long), Options{Stdout: true, Tail: 1}); got != long {
		t.Fatalf("%d bytes, want %d", len(got), len(long))
	}
	if err := Append(&bytes.Buffer{}, 3, t0, []byte("x")); err == nil {
		t.Error("stream 3 was accepted")
	}
}

// Whatever is in a log, reading it ends, with nil, and finds the frame that
// stands behind enough room for any frame that the garbage may have begun.
func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', '\n'})
	f.Fuzz(func(t *testing.T, garbage []byte) {
		path := write(t, garbage, make([]byte, headerSize+MaxPayload), "o:\nfound\n")
		got := show(t, path, Options{Stdout: true, Stderr: true, Tail: -1})
		if !strings.HasSuffix(got, "\nfound\n") {
			t.Errorf("got %q", got)
		}
	})
}
