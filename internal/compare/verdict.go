package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/abode-run/abode/internal/compare/reach"
)

// remark is a sentence of the verdict, perhaps with a list.
type remark struct {
	lead  string
	parts []string
}

func (m remark) String() string {
	if m.parts == nil {
		return m.lead
	}
	return m.lead + ": " + strings.Join(m.parts, "; ") + "."
}

// verdict says in words what the numbers say.
func (r *Report) verdict() []string {
	words := []string{}
	for _, m := range r.remarks() {
		words = append(words, m.String())
	}
	return words
}

// remarks compare each contestant with the first, and tell what the walls are
// and what a reader has to know.
func (r *Report) remarks() (list []remark) {
	if len(r.Contestants) == 0 {
		return nil
	}
	say := func(words ...string) {
		for _, s := range words {
			list = append(list, remark{lead: s})
		}
	}
	base := &r.Contestants[0]
	for i := range r.Contestants[1:] {
		list = append(list, beside(base, &r.Contestants[i+1])...)
	}
	for i := range r.Contestants {
		if s := r.Contestants[i].wall(); s != "" {
			say(s)
		}
	}
	for i := range r.Contestants {
		say(r.Contestants[i].caveats()...)
	}
	for i := range r.Contestants {
		if c := &r.Contestants[i]; c.ImageID != "" && base.ImageID != "" && c.ImageID != base.ImageID {
			say(fmt.Sprintf("Take care: the image of that name is not the same for %s (%s, not %s).", c.Name, shortDigest(c.ImageID), shortDigest(base.ImageID)))
		}
	}
	if r.Repeat < fewest {
		say(fmt.Sprintf("This is of %s: a look, not a measurement; %d are the fewest that can tell a difference from chance.", counted(r.Repeat, "run"), fewest))
	}
	return list
}

// called is a contestant as a sentence has it.
func (c *Contestant) called() string {
	switch c.Name {
	case "container":
		return "the container"
	case "vm":
		return "the virtual machine"
	default:
		return c.Name + "'s container"
	}
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// beside compares c with base: what it costs, and disk and network.
func beside(base, c *Contestant) (list []remark) {
	for i, metrics := range [][]metric{costs, throughputs} {
		lead := sentence(c.called())
		if i > 0 {
			lead = "Disk and network of " + c.called()
		}
		m := remark{lead: lead + ", beside " + base.called()}
		var open []int // parts that too few runs leave so
		for _, one := range metrics {
			a, ok := base.Metrics[one.key]
			b, both := c.Metrics[one.key]
			if !ok || !both {
				continue
			}
			if min(a.N, b.N) < fewest && !a.near(b) {
				open = append(open, len(m.parts))
			}
			m.parts = append(m.parts, one.difference(a, b))
		}
		const tooFew = ", in too few runs to tell"
		if len(m.parts) > 0 && len(open) == len(m.parts) {
			m.lead, open = m.lead+tooFew, nil
		}
		for _, j := range open {
			m.parts[j] += tooFew
		}
		if m.parts != nil {
			list = append(list, m)
		}
	}
	if list == nil {
		return []remark{{lead: fmt.Sprintf("%s and %s have no number in common.", sentence(c.called()), base.called())}}
	}
	return list
}

// phrases are how a metric that grew or shrank is told: more, less, the same,
// and what to call it.
var phrases = map[string][4]string{
	"start":  {"it starts %s slower", "it starts %s faster", "it starts about as fast", "its start"},
	"output": {"its first output comes %s later", "its first output comes %s sooner", "its first output comes about as soon", "its first output"},
	"http":   {"its first HTTP answer comes %s later", "its first HTTP answer comes %s sooner", "its first HTTP answer comes about as soon", "its first HTTP answer"},
	"run":    {"the command takes %s longer", "the command takes %s less time", "the command takes about as long", "how long the command takes"},
	"memory": {"it costs %s more memory", "it costs %s less memory", "it costs about as much memory", "its memory"},
	"cpu":    {"it uses %s more CPU time", "it uses %s less CPU time", "it uses about as much CPU time", "its CPU time"},

	"diskWrite":  {"writes are %s faster", "writes are %s slower", "writes are about as fast", "writes"},
	"diskRead":   {"reads are %s faster", "reads are %s slower", "reads are about as fast", "reads"},
	"diskRandom": {"random reads are %s faster", "random reads are %s slower", "random reads are about as fast", "random reads"},
	"diskSync":   {"a synced write takes %s longer", "a synced write takes %s less time", "a synced write takes about as long", "synced writes"},
	"netIn":      {"data goes in %s faster", "data goes in %s slower", "data goes in about as fast", "data that goes in"},
	"netOut":     {"data goes out %s faster", "data goes out %s slower", "data goes out about as fast", "data that goes out"},
	"roundTrip":  {"a round trip takes %s longer", "a round trip takes %s less time", "a round trip takes about as long", "round trips"},
}

// difference tells how b differs from a, and both medians.
func (m metric) difference(a, b Stat) string {
	p, both := phrases[m.key], fmt.Sprintf(" (%s, not %s)", m.text(b.Median), m.text(a.Median))
	low, high, phrase := a.Median, b.Median, p[0]
	if b.Median < a.Median {
		low, high, phrase = b.Median, a.Median, p[1]
	}
	switch {
	case a.near(b):
		return p[2] + fmt.Sprintf(" (%s and %s)", m.text(b.Median), m.text(a.Median))
	case min(a.N, b.N) < fewest:
		return p[3] + fmt.Sprintf(": %s, not %s", m.text(b.Median), m.text(a.Median))
	case !a.apart(b):
		return p[3] + fmt.Sprintf(" may differ by chance alone (%s and %s)", m.text(b.Median), m.text(a.Median))
	case m.key == "memory" || m.key == "cpu" || low == 0:
		return fmt.Sprintf(phrase, m.text(high-low)) + both
	case high/low < 2:
		return fmt.Sprintf(phrase, fmt.Sprintf("%.0f%%", percent(low, high, b.Median < a.Median))) + both
	default:
		return fmt.Sprintf(phrase, figures(high/low)+" times") + both
	}
}

// percent is how much more high is than low, or how much less low is than high.
func percent(low, high float64, less bool) float64 {
	if less {
		return (high - low) / high * 100
	}
	return (high - low) / low * 100
}

// wall says what stands between the workload and the host.
func (c *Contestant) wall() string {
	f := &c.Isolation
	switch f.Kernel {
	case kernelOwn:
		s := fmt.Sprintf("The kernel of %s is its own%s: who breaks it has the guest, and the host is behind the hypervisor", c.called(), inBrackets(f.Release))
		if n := f.HypervisorCalls; n != nil {
			s += ", which may make " + madeText(n)
		}
		return s + "."
	case kernelShared:
		s := fmt.Sprintf("%s shares the host's kernel%s: a hole in that kernel is a hole in the wall.", sentence(c.called()), inBrackets(f.Release))
		if f.Calls != nil {
			s += " The workload may make " + madeText(f.Calls) + "."
		}
		var weak []string
		if f.Seccomp == "off" {
			weak = append(weak, "no seccomp filter is set")
		}
		if id, known := f.root(); known && id == 0 {
			weak = append(weak, "its root is the host's root")
		}
		if slices.Contains(f.Capabilities, "sys_admin") {
			weak = append(weak, "it has the capability sys_admin")
		}
		if weak != nil {
			s += " " + sentence(strings.Join(weak, "; ")) + "."
		}
		return s
	default:
		return ""
	}
}

// madeText tells how many of the host's system calls may be made.
func madeText(c *reach.Calls) string {
	if c.Allowed == c.Total {
		return fmt.Sprintf("all of the host's %d system calls", c.Total)
	}
	return fmt.Sprintf("%d of the host's %d system calls", c.Allowed+len(c.Conditional), c.Total)
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// caveats are what a reader of the numbers has to know of them.
func (c *Contestant) caveats() (words []string) {
	if c.Prepared > 0 {
		var ahead []float64
		for _, r := range c.Runs {
			if r.Prepared {
				ahead = append(ahead, r.Ahead)
			}
		}
		words = append(words, fmt.Sprintf("%s was made ahead in %d of %d starts, which had taken %s of CPU time before; that is not in the figures.",
			sentence(c.called()), c.Prepared, len(c.Runs), secondsText(newStat(ahead).Median)))
	}
	codes := map[int64]int{}
	for _, r := range c.Runs {
		if r.ExitCode != nil && *r.ExitCode != 0 {
			codes[*r.ExitCode]++
		}
	}
	for code, n := range codes {
		words = append(words, fmt.Sprintf("Take care: with %s the command ended with code %d in %d of %d runs.", c.Name, code, n, len(c.Runs)))
	}
	for _, r := range c.Runs {
		if r.Warm != "" && r.DiskRead != nil {
			words = append(words, fmt.Sprintf("Take care: what %s read of its disk may have come from the host's memory: %s.", c.Name, r.Warm))
			break
		}
	}
	for _, r := range c.Runs {
		if r.Status >= 400 {
			words = append(words, fmt.Sprintf("Take care: with %s the HTTP answer was %d.", c.Name, r.Status))
			break
		}
	}
	slices.Sort(words)
	return words
}

func shortDigest(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 12)]
}
