package compare

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// Compare runs the plan with each entrant, taking turns. An entrant that fails
// drops out, with the reason; that all do is an error. When ctx ends it returns
// its error; in any case no container of it is left.
func Compare(ctx context.Context, p *Plan, entrants []Entrant, absent []Missing) (*Report, error) {
	r := &Report{
		Version: 1, Began: time.Now().UTC().Truncate(time.Second), Image: p.Image, Command: append([]string{}, p.Command...),
		Repeat: p.Repeat, Settle: p.Settle.Seconds(), Rest: p.Rest.Seconds(), Limit: p.Limit.Seconds(), Throughput: p.Throughput,
		Machine: p.Host.Machine(), Absent: append([]Missing{}, absent...),
	}
	r.Machine.Arch, r.Machine.CPUs = runtime.GOARCH, runtime.NumCPU()
	if p.HTTP != nil {
		r.HTTP = p.HTTP.String()
	}
	lanes := make([]*lane, 0, len(entrants))
	for _, e := range entrants {
		l := &lane{entrant: e, got: Contestant{Name: e.Name, Engine: e.Engine}}
		p.Say(e.Name + ": looking at its isolation")
		if err := l.prepare(ctx, p); err != nil {
			l.failed = err
		}
		lanes = append(lanes, l)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	for i := range p.Repeat {
		for j := range lanes {
			l := lanes[(i+j)%len(lanes)] // nobody always comes after the same one
			if l.failed != nil {
				continue
			}
			select {
			case <-time.After(p.Rest): // what the last one left to do disturbs the next
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			p.Say(fmt.Sprintf("%s: run %d of %d", l.entrant.Name, i+1, p.Repeat))
			l.failed = l.turn(ctx, p)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	failures := map[string][]string{} // by reason
	for _, l := range lanes {
		if l.failed != nil {
			reason := plain(l.failed)
			failures[reason] = append(failures[reason], l.entrant.Name)
			r.Absent = append(r.Absent, Missing{l.entrant.Name, reason})
			continue
		}
		r.Contestants = append(r.Contestants, l.finish())
	}
	if len(r.Contestants) == 0 {
		return nil, nobody(p, failures)
	}
	r.ImageID = r.Contestants[0].ImageID
	r.Verdict = r.verdict()
	return r, nil
}

// nobody is the error that no contestant could run the image.
func nobody(p *Plan, failures map[string][]string) error {
	if len(failures) == 0 {
		return fmt.Errorf("cannot compare anything with %s: this engine has no wall that works; 'abode info' tells what is missing", p.Image)
	}
	var words []string
	for reason, names := range failures {
		words = append(words, strings.Join(names, " and ")+": "+reason)
	}
	slices.Sort(words)
	hint := ""
	if len(p.Command) == 0 {
		hint = fmt.Sprintf("; with another command: abode compare %s -- COMMAND", p.Image)
	}
	return fmt.Errorf("cannot run %s: %s%s", p.Image, strings.Join(words, "; "), hint)
}

// lane is an entrant on its way.
type lane struct {
	entrant Entrant
	got     Contestant
	service bool // its command does not end by itself
	failed  error
}

func (l *lane) prepare(ctx context.Context, p *Plan) error {
	img, err := l.entrant.Client.ImageInspect(ctx, p.Image)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("it has no image %s: 'abode save %[1]s | %s load' gives it the same one", p.Image, l.entrant.Name)
	}
	if err != nil {
		return err
	}
	l.got.ImageID, l.got.ImageBytes = img.ID, img.Size
	facts, gaps, err := l.entrant.probe(ctx, p)
	if err == nil {
		l.got.Isolation, l.got.Missing = facts, gaps
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// An image without cat is fine. If nothing else works either, a run that does
	// not count says what is wrong, or makes the engine warm.
	facts, gaps, gerr := l.entrant.probeGauged(ctx, p)
	if gerr == nil {
		l.got.Isolation, l.got.Missing = facts, gaps
		return nil
	}
	l.got.Missing = append(l.got.Missing, Missing{"isolation", plain(err) + "; " + plain(gerr)})
	_, err = l.entrant.run(ctx, p, true)
	return err
}

func (l *lane) turn(ctx context.Context, p *Plan) error {
	run, err := l.entrant.run(ctx, p, l.service)
	if err != nil {
		return err
	}
	l.service = l.service || run.Run == nil
	if p.Throughput {
		p.Say(l.entrant.Name + ": disk and network")
		if err := l.entrant.throughput(ctx, p, &run); err != nil {
			return err
		}
	}
	l.got.Runs = append(l.got.Runs, run)
	return nil
}

// finish completes what is told of the contestant.
func (l *lane) finish() Contestant {
	c := &l.got
	if f := &c.Isolation; f.Kernel == "" && l.entrant.Isolation == isolationVM {
		f.Kernel = kernelOwn // by the engine's word
	}
	c.finish()
	return *c
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// plain is an error's text in one line.
func plain(err error) string {
	s := strings.ReplaceAll(err.Error(), "Error response from daemon: ", "")
	return strings.Join(strings.Fields(s), " ")
}
