package docker

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// shown is a flag whose effect shows inside the container, or in inspect.
type shown struct {
	name   string
	args   []string // as run gets them
	script string   // shows the effect, and
	want   string   // prints this; without the flag it prints something else
	// inspect is a template that gives is, and something else without the flag.
	inspect, is string
	note        string
}

// A group are flags that one container is run with.
type group struct {
	flags []shown
	once  map[wall]*sync.Once
	seen  map[wall]*view
}

// view is what a container has shown of a group's flags.
type view struct {
	scripts, inspects []string
	err               error
}

func newGroup(flags ...shown) *group {
	g := &group{flags: flags, once: map[wall]*sync.Once{}, seen: map[wall]*view{}}
	for _, w := range walls {
		g.once[w], g.seen[w] = new(sync.Once), new(view)
	}
	return g
}

func (g *group) features() []feature {
	var all []feature
	for i, f := range g.flags {
		all = append(all, feature{name: f.name, note: f.note, prove: func(t *testing.T, w wall) {
			with := g.view(t, w)
			without := control.of(t, w, g)
			if f.script != "" {
				equal(t, "inside", with.scripts[i], f.want)
				if without.scripts[i] == f.want {
					t.Errorf("inside, it is %q without %s too", f.want, f.name)
				}
			}
			if f.inspect != "" {
				equal(t, "inspect", with.inspects[i], f.is)
				if without.inspects[i] == f.is {
					t.Errorf("inspect shows %q without %s too", f.is, f.name)
				}
			}
		}})
	}
	return all
}

// view runs the group's container, once.
func (g *group) view(t *testing.T, w wall) *view {
	g.once[w].Do(func() {
		var args []string
		for _, f := range g.flags {
			args = append(args, f.args...)
		}
		*g.seen[w] = look(t, w, args, g.flags)
	})
	if err := g.seen[w].err; err != nil {
		t.Fatal(err)
	}
	return g.seen[w]
}

// library is what the scripts share: a file of the cgroup, which is of
// version 1 or 2.
const library = `cg() { cat /sys/fs/cgroup/$1 2>/dev/null || cat /sys/fs/cgroup/$2; }
cap() { echo $(( 0x$(awk '/CapEff/ { print $2 }' /proc/self/status) >> $1 & 1 )); }
`

// look runs a container whose command is all scripts, and inspects it.
func look(t *testing.T, w wall, args []string, flags []shown) (v view) {
	const mark = "\n--8<--\n"
	script := library
	template := ""
	for _, f := range flags {
		script += "(true\n" + f.script + "\n) 2>&1\nprintf '\\n--8<--\\n'\n"
		template += f.inspect + mark
	}
	name := w.name(t)
	run := append([]string{"run", "--isolation", string(w), "--name", name}, args...)
	r := call(t, "", append(run, "busybox", "sh", "-c", script)...)
	if r.code != 0 {
		v.err = fmt.Errorf("docker %s: exit code %d\n%s%s", strings.Join(run, " "), r.code, r.stdout, r.stderr)
		return v
	}
	parts := func(s string) []string {
		list := strings.Split(s, mark)
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		return list
	}
	v.scripts = parts(r.stdout)
	v.inspects = parts(cli(t, "inspect", "--format", template, name) + "\n")
	call(t, "", "rm", "-f", "-v", name)
	if len(v.scripts) != len(flags)+1 || len(v.inspects) != len(flags)+1 {
		v.err = fmt.Errorf("%d scripts have shown %d results, and inspect %d:\n%s", len(flags), len(v.scripts)-1, len(v.inspects)-1, r.stdout)
	}
	return v
}

// control is a container without any flags, which shows that the scripts show
// something else then.
var control = &controls{once: map[wall]*sync.Once{"container": new(sync.Once), "vm": new(sync.Once)}, seen: map[wall]view{}}

type controls struct {
	mu   sync.Mutex
	once map[wall]*sync.Once
	seen map[wall]view
}

// of is what the container shows to the scripts of a group.
func (c *controls) of(t *testing.T, w wall, g *group) view {
	c.once[w].Do(func() {
		var all []shown
		for _, g := range groups {
			all = append(all, g.flags...)
		}
		v := look(t, w, nil, all)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seen[w] = v
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.seen[w]
	if v.err != nil {
		t.Fatal(v.err)
	}
	first := 0
	for _, other := range groups {
		if other == g {
			break
		}
		first += len(other.flags)
	}
	n := len(g.flags)
	return view{scripts: v.scripts[first : first+n], inspects: v.inspects[first : first+n]}
}
