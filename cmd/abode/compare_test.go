package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestComparePlan(t *testing.T) {
	t.Setenv("COMPARE_TEST", "here")
	for _, c := range []struct {
		line string
		want string // of the error; "" when it is fine
	}{
		{"web", ""},
		{"web -- nginx -g x", ""},
		{"--http 8080/up -e A=1 -e COMPARE_TEST web", ""},
		{"web --http 80 -- true", ""}, // a flag after the image
		{"web true", "put -- before the command: abode compare web -- true"},
		{"web sh -- -c x", "put -- before the command: abode compare web -- sh -c x"},
		{"-- true", "the image is missing"},
		{"-n 0 web", "invalid --repeat 0"},
		{"--settle -1s web", "cannot be negative"},
		{"--http 99999 web", "invalid --http"},
	} {
		var f compareFlags
		cmd := newCompare(newApp())
		if err := cmd.ParseFlags(strings.Fields(c.line)); err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		flags := cmd.Flags()
		f.repeat, _ = flags.GetInt("repeat")
		f.http, _ = flags.GetString("http")
		f.env, _ = flags.GetStringArray("env")
		f.settle, _ = flags.GetDuration("settle")
		p, err := f.plan(flags.Args(), flags.ArgsLenAtDash())
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.line, err, c.want)
			}
			continue
		}
		if err != nil || p.Image != "web" || p.Repeat != 5 || p.Settle != 2*time.Second {
			t.Errorf("%s: %+v %v", c.line, p, err)
			continue
		}
		if want := map[bool]time.Duration{false: 10 * time.Second, true: time.Minute}[p.HTTP != nil]; p.Limit != want {
			t.Errorf("%s: the limit is %s", c.line, p.Limit)
		}
		if len(f.env) > 0 && !slices.Equal(p.Env, []string{"A=1", "COMPARE_TEST=here"}) {
			t.Errorf("%s: the environment is %q", c.line, p.Env)
		}
	}
}

// What cannot take part is told with the reason, and so is a name that is none.
func TestComparePeers(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	t.Setenv("CONTAINER_HOST", "ssh://nowhere")
	entrants, absent, err := peers(t.Context(), []string{"docker", "podman", "docker"})
	if err != nil || len(entrants) != 0 || len(absent) != 2 {
		t.Fatalf("%v %v %v", entrants, absent, err)
	}
	if !strings.Contains(absent[0].Reason, "/nonexistent/docker.sock") || absent[1].Reason == "" {
		t.Errorf("the reasons are %q", absent)
	}
	if _, _, err := peers(t.Context(), []string{"lxc"}); err == nil || !strings.Contains(err.Error(), "use docker or podman") {
		t.Errorf("%v", err)
	}
}
