package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"
)

// durationFlag is a duration as Docker's health flags have it: none is less
// than a millisecond, but 0 stands for the default.
type durationFlag time.Duration

func (d *durationFlag) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err == nil && (v < 0 || v > 0 && v < container.MinimumDuration) {
		err = fmt.Errorf("must be 0 or at least %v", container.MinimumDuration)
	}
	*d = durationFlag(v)
	return err
}

func (d *durationFlag) String() string { return time.Duration(*d).String() }
func (d *durationFlag) Type() string   { return "duration" }

// check refuses flags that contradict each other.
func (c *createFlags) check(set *pflag.FlagSet, detach bool) error {
	for _, a := range c.attach {
		if !slices.Contains([]string{"stdin", "stdout", "stderr"}, strings.ToLower(a)) {
			return fmt.Errorf("invalid argument %q for --attach: valid streams are STDIN, STDOUT and STDERR", a)
		}
	}
	switch c.pull {
	case "always", "missing", "never":
	default:
		return fmt.Errorf("invalid pull option: '%s': must be one of %q, %q or %q", c.pull, "always", "missing", "never")
	}
	switch c.isolation {
	case "", "default", "container", "vm":
	default:
		return fmt.Errorf("invalid isolation %q: use container, vm or default", c.isolation)
	}
	if c.noTemplate && c.isolation != "vm" {
		return errors.New("--no-template needs --isolation vm: a container boots no kernel")
	}
	if c.logDriver == "none" && len(c.logOpts) > 0 {
		return errors.New("invalid logging opts for driver none")
	}
	if detach && len(c.attach) > 0 {
		return errors.New("conflicting options: -a and -d; leave one of them out")
	}
	if c.autoRemove && c.restart != "" && c.restart != "no" {
		return errors.New("conflicting options: cannot specify both --restart and --rm")
	}
	if c.noHealth && (c.healthCmd != "" || c.healthInterval != 0 || c.healthTimeout != 0 || c.healthStart != 0 ||
		c.healthStartEvery != 0 || set.Changed("health-retries")) {
		return errors.New("--no-healthcheck conflicts with --health-* options")
	}
	if c.healthRetries < 0 {
		return errors.New("--health-retries cannot be negative")
	}
	return nil
}
