package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// walk calls do for every command that a user sees.
func walk(c *cobra.Command, do func(*cobra.Command)) {
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "completion" && sub.Name() != "help" {
			do(sub)
			walk(sub, do)
		}
	}
}

// Every command explains itself; making its help also finds flags that
// collide, on which pflag panics.
func TestHelp(t *testing.T) {
	root := newRoot(newApp(), nil)
	walk(root, func(c *cobra.Command) {
		var b bytes.Buffer
		c.SetOut(&b)
		if err := c.Help(); err != nil {
			t.Errorf("%s: %v", c.CommandPath(), err)
		}
		if c.HasSubCommands() {
			return
		}
		if c.Short == "" || c.Long == "" || c.Example == "" {
			t.Errorf("%s lacks a short text, a long text or an example", c.CommandPath())
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			if strings.Contains(line, "\t") {
				t.Errorf("%s: the help has a tab: %q", c.CommandPath(), line)
			}
		}
	})
}

// The examples' flags exist and their arguments are in order, so that they
// work when they are copied.
func TestExamples(t *testing.T) {
	walk(newRoot(newApp(), nil), func(c *cobra.Command) {
		for line := range strings.SplitSeq(c.Example, "\n") {
			for part := range strings.SplitSeq(line, "|") {
				checkExample(t, c, strings.TrimSpace(part))
			}
		}
	})
}

func checkExample(t *testing.T, c *cobra.Command, line string) {
	_, line, found := strings.Cut(" "+line, " abode ")
	if !found {
		return
	}
	args := shellWords(line)
	root := newRoot(newApp(), args)
	cmd, rest, err := root.Find(args)
	if err != nil {
		t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
		return
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
	}
}

// shellWords splits a line at spaces outside of quotes and of $(...).
func shellWords(line string) (words []string) {
	var b strings.Builder
	quote, depth := rune(0), 0
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case r == '(':
			depth++
			b.WriteRune(r)
		case r == ')':
			depth--
			b.WriteRune(r)
		case r == ' ' && quote == 0 && depth == 0:
			if b.Len() > 0 {
				words = append(words, b.String())
			}
			b.Reset()
		default:
			b.WriteRune(r)
		}
	}
	return words
}

// A command line that names a command finds it, though only that one is made.
func TestEntries(t *testing.T) {
	for _, e := range entries {
		c := e.make(newApp())
		if c.Name() != e.name {
			t.Errorf("the entry %q makes the command %q", e.name, c.Name())
		}
		for _, args := range [][]string{{e.name}, {"--host", "unix:///x", e.name}, {"-Hunix:///x", e.name}, {"--host=unix:///x", e.name}} {
			if got := entriesFor(args); len(got) != 1 || got[0].name != e.name {
				t.Errorf("%q makes %d commands", args, len(got))
			}
		}
	}
	for _, args := range [][]string{nil, {"--help"}, {"help", "run"}, {"nope"}, {"__complete", "ru"}} {
		if got := entriesFor(args); len(got) != len(entries) {
			t.Errorf("%q makes %d commands, want all", args, len(got))
		}
	}
}
