// Abode-bench measures Abode side by side with what people use instead: docker,
// podman, runc, a virtual machine that boots from cold, and the least that a
// start can cost. See CONTRIBUTING.md.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// options are what the command line says.
type options struct {
	quick       bool
	only        *regexp.Regexp
	contestants []string // nil: all
	bin         string   // folder of the built programs
	cache       string   // folder of what hack/assets made
	results     string
	list        bool
	runs        int    // of what takes a moment; 0: as many as the scale has
	inside      string // folder of this run, when in the sandbox
}

func parse(args []string) (options, error) {
	var o options
	var only, contestants string
	f := flag.NewFlagSet("abode-bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "few runs and small counts: a look, not a measurement")
	f.StringVar(&only, "only", "", "run the cases whose name this regular expression matches")
	f.StringVar(&contestants, "contestants", "", "comma-separated: "+strings.Join(everybody, ","))
	f.StringVar(&o.bin, "bin", "bin", "folder with abode, aboded, abode-agent and abode-bench-floor")
	f.StringVar(&o.cache, "cache", cmp.Or(os.Getenv("ABODE_CACHE"), ".cache"), "folder with what hack/assets made")
	f.StringVar(&o.results, "results", "bench/results", "folder for the reports")
	f.BoolVar(&o.list, "list", false, "list the cases and leave")
	f.IntVar(&o.runs, "runs", 0, "how often what takes a moment and what goes on inside is run (0: 20 and 5, or 5 and 1 with --quick)")
	f.StringVar(&o.inside, "inside", "", "for its own use")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q: see --help", f.Arg(0))
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("cannot use --only: %w", err)
	}
	if contestants != "" {
		o.contestants = strings.Split(contestants, ",")
	}
	return o, o.check()
}

func (o options) check() error {
	for _, c := range o.contestants {
		if !known(c) {
			return fmt.Errorf("no contestant is called %q: there are %s", c, strings.Join(everybody, ", "))
		}
	}
	for _, c := range cases {
		if o.only.MatchString(c.name) {
			return nil
		}
	}
	return errors.New("--only leaves no case: see --list")
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == firstProcess {
		os.Exit(beFirst())
	}
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
	case o.list:
		listCases(os.Stdout)
	case o.inside == "":
		err = outside(os.Args[1:])
	default:
		err = inside(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "abode-bench:", err)
		os.Exit(1)
	}
}

func listCases(w io.Writer) {
	for _, c := range cases {
		fmt.Fprintf(w, "%-16s %s\n", c.name, c.about)
	}
}
