package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A tool is a program that a template depends on: another one needs another template.
type tool struct {
	path    string
	stamp   string // size and time: whether sum and version are still right
	sum     string // of the agent
	version string // of the hypervisor
}

type toolchain struct{ qemu, agent tool }

func stamp(path string) (string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %d", path, fi.Size(), fi.ModTime().UnixNano()), nil
}

// hypervisor returns QEMU's path and version; the version is for people.
func (p *Provider) hypervisor() tool {
	path, err := p.qemuPath()
	if err != nil {
		return tool{version: "no hypervisor"}
	}
	s, _ := stamp(path)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tools.qemu.stamp == s && s != "" {
		return p.tools.qemu
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, "--version").Output()
	line, _, _ := strings.Cut(string(out), "\n")
	line = strings.Replace(line, "QEMU emulator version", "QEMU", 1)
	version, _, _ := strings.Cut(line, " (")
	p.tools.qemu = tool{path: path, stamp: s, version: version}
	return p.tools.qemu
}

// agent returns the agent's path and hash.
func (p *Provider) agent() (tool, error) {
	s, err := stamp(p.cfg.AgentBinary)
	if err != nil {
		return tool{}, fmt.Errorf("cannot find the agent: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tools.agent.stamp == s {
		return p.tools.agent, nil
	}
	f, err := os.Open(p.cfg.AgentBinary)
	if err != nil {
		return tool{}, fmt.Errorf("cannot read the agent: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return tool{}, fmt.Errorf("cannot read the agent: %w", err)
	}
	p.tools.agent = tool{path: p.cfg.AgentBinary, stamp: s, sum: hex.EncodeToString(h.Sum(nil))}
	return p.tools.agent, nil
}
