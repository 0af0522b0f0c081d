package image

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"golang.org/x/sys/unix"
)

// applyChanges changes a config as Dockerfile instructions say: CMD, ENTRYPOINT,
// ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR,
// in shell or JSON form, with variables from the config's environment.
// https://docs.docker.com/reference/dockerfile/
func applyChanges(c *ImageConfig, changes []string) error {
	a := applier{config: c}
	for _, change := range changes {
		if strings.TrimSpace(change) == "" {
			continue
		}
		if err := a.apply(change); err != nil {
			return fmt.Errorf("the change %q is not possible: %w: %w", clean(change), err, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

type applier struct {
	config *ImageConfig
	cmdSet bool
}

func (a *applier) apply(change string) error {
	parsed, err := parser.Parse(strings.NewReader(change))
	if err != nil {
		return err
	}
	for _, node := range parsed.AST.Children {
		cmd, err := instructions.ParseCommand(node)
		if err != nil {
			return err
		}
		lex, env := shell.NewLex(parsed.EscapeToken), shell.EnvsFromSlice(a.config.Config.Env)
		if e, ok := cmd.(*instructions.ExposeCommand); ok {
			var ports []string
			for _, p := range e.Ports {
				words, err := lex.ProcessWords(p, env)
				if err != nil {
					return err
				}
				ports = append(ports, words...)
			}
			e.Ports = ports
		} else if e, ok := cmd.(instructions.SupportsSingleWordExpansion); ok {
			err := e.Expand(func(word string) (string, error) {
				word, _, err := lex.ProcessWord(word, env)
				return word, err
			})
			if err != nil {
				return err
			}
		}
		if err := a.instruction(cmd); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) instruction(cmd instructions.Command) error {
	c := &a.config.Config
	switch cmd := cmd.(type) {
	case *instructions.CmdCommand:
		c.Cmd, a.cmdSet = commandLine(c.Shell, cmd.ShellDependantCmdLine), true
	case *instructions.EntrypointCommand:
		c.Entrypoint = commandLine(c.Shell, cmd.ShellDependantCmdLine)
		if !a.cmdSet {
			c.Cmd = nil // it was meant for another entry point
		}
	case *instructions.EnvCommand:
		for _, kv := range cmd.Env {
			if kv.Key == "" {
				return fmt.Errorf("a variable has no name")
			}
			c.Env = setEnv(c.Env, kv.Key, kv.Value)
		}
	case *instructions.LabelCommand:
		for _, kv := range cmd.Labels {
			if kv.Key == "" {
				return fmt.Errorf("a label has no name")
			}
			set(&c.Labels, kv.Key, kv.Value)
		}
	case *instructions.WorkdirCommand:
		if cmd.Path == "" {
			return fmt.Errorf("the directory is empty")
		}
		dir := cmd.Path
		if !path.IsAbs(dir) {
			dir = path.Join("/", c.WorkingDir, dir)
		}
		c.WorkingDir = path.Clean(dir)
	case *instructions.UserCommand:
		c.User = cmd.User
	case *instructions.ExposeCommand:
		for _, p := range cmd.Ports {
			ports, err := parsePorts(p)
			if err != nil {
				return err
			}
			for _, p := range ports {
				set(&c.ExposedPorts, p, struct{}{})
			}
		}
	case *instructions.VolumeCommand:
		for _, v := range cmd.Volumes {
			if v == "" {
				return fmt.Errorf("a volume has no path")
			}
			set(&c.Volumes, v, struct{}{})
		}
	case *instructions.StopSignalCommand:
		if !isSignal(cmd.Signal) {
			return fmt.Errorf("%q is not a signal", clean(cmd.Signal))
		}
		c.StopSignal = cmd.Signal
	case *instructions.HealthCheckCommand:
		c.Healthcheck = cmd.Health
	case *instructions.OnbuildCommand:
		c.OnBuild = append(c.OnBuild, cmd.Expression)
	default:
		return fmt.Errorf("%s can't be used here, only in a Dockerfile", strings.ToUpper(cmd.Name()))
	}
	return nil
}

// commandLine makes of CMD or ENTRYPOINT in shell form a call of the shell.
func commandLine(sh []string, l instructions.ShellDependantCmdLine) []string {
	if !l.PrependShell || len(l.CmdLine) == 0 {
		return l.CmdLine
	}
	if len(sh) == 0 {
		sh = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(sh), strings.Join(l.CmdLine, " "))
}

// setEnv sets a variable in place, or adds it.
func setEnv(env []string, key, value string) []string {
	for i, e := range env {
		if k, _, _ := strings.Cut(e, "="); k == key {
			env[i] = key + "=" + value
			return env
		}
	}
	return append(env, key+"="+value)
}

func set[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

// parsePorts reads 80, 80/udp or a range as 8000-8010/tcp, and returns each
// port with its protocol.
func parsePorts(s string) ([]string, error) {
	ports, proto, ok := strings.Cut(s, "/")
	if proto = strings.ToLower(proto); !ok {
		proto = "tcp"
	}
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return nil, fmt.Errorf("%q is not a protocol: choose tcp, udp or sctp", clean(proto))
	}
	from, to, isRange := strings.Cut(ports, "-")
	if !isRange {
		to = from
	}
	first, err1 := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || first == 0 || last < first {
		return nil, fmt.Errorf("%q is not a port or a range of ports", clean(ports))
	}
	var out []string
	for p := first; p <= last; p++ {
		out = append(out, strconv.FormatUint(p, 10)+"/"+proto)
	}
	return out, nil
}

// isSignal says whether s is the number or the name of a signal, with or
// without SIG; real-time signals are named like SIGRTMIN+3 (signal(7)).
func isSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n >= 1 && n <= 64
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for _, rt := range []string{"SIGRTMIN", "SIGRTMAX"} {
		if rest, ok := strings.CutPrefix(name, rt); ok {
			n, err := strconv.Atoi(rest)
			sign := rest == "" || rest[0] == map[string]byte{"SIGRTMIN": '+', "SIGRTMAX": '-'}[rt]
			return rest == "" || err == nil && sign && n >= -30 && n <= 30
		}
	}
	return unix.SignalNum(name) != 0
}
