package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// A registry is Debian's docker-registry on the sandbox's loopback, whose
// ports are all free.
type registry struct {
	*place
	daemon *daemon
	pushed map[string]bool
}

const registryAddress = "localhost:5000"

// image pushes the file system that tar yields, once, as an image of one
// gzipped layer, and returns its reference.
func (r *registry) image(name string, tar func(io.Writer) error) (string, error) {
	ref := registryAddress + "/" + name + ":latest"
	if r.pushed[name] {
		return ref, nil
	}
	if err := r.start(); err != nil {
		return "", err
	}
	file, err := os.Create(r.path(name + ".tar.gz"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	defer os.Remove(file.Name())
	diff, blob := newSum(), newSum()
	zip := gzip.NewWriter(io.MultiWriter(file, blob))
	if err := tar(io.MultiWriter(zip, diff)); err != nil {
		return "", err
	}
	if err := zip.Close(); err != nil {
		return "", err
	}
	layer := descriptor{"application/vnd.docker.image.rootfs.diff.tar.gzip", blob.digest(), blob.size}
	if err := r.upload(name, layer, file.Name()); err != nil {
		return "", err
	}
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sh"],"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},"rootfs":{"type":"layers","diff_ids":[%q]}}`, diff.digest())
	if err := os.WriteFile(file.Name(), config, 0o600); err != nil {
		return "", err
	}
	sum := newSum()
	_, _ = sum.Write(config)
	top := manifest{2, "application/vnd.docker.distribution.manifest.v2+json",
		descriptor{"application/vnd.docker.container.image.v1+json", sum.digest(), sum.size}, []descriptor{layer}}
	if err := r.upload(name, top.Config, file.Name()); err != nil {
		return "", err
	}
	b, err := json.Marshal(top)
	if err != nil {
		return "", err
	}
	if _, err := r.send(http.MethodPut, "http://"+registryAddress+"/v2/"+name+"/manifests/latest", top.MediaType, bytes.NewReader(b), int64(len(b))); err != nil {
		return "", err
	}
	r.pushed[name] = true
	return ref, nil
}

// A descriptor and a manifest are as the registry's protocol has them.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// A sum is the digest and the size of what is written.
type sum struct {
	hash hash.Hash
	size int64
}

func newSum() *sum { return &sum{hash: sha256.New()} }

func (s *sum) Write(b []byte) (int, error) {
	s.size += int64(len(b))
	return s.hash.Write(b)
}

func (s *sum) digest() string { return "sha256:" + hex.EncodeToString(s.hash.Sum(nil)) }

// start starts the registry, once.
func (r *registry) start() error {
	if r.daemon != nil {
		return nil
	}
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		return absence("docker-registry is not installed")
	}
	r.pushed = map[string]bool{}
	config := fmt.Appendf(nil, "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp: {addr: %q}\n",
		r.path("registry"), "127.0.0.1:5000")
	if err := os.WriteFile(r.path("registry.yml"), config, 0o600); err != nil {
		return err
	}
	r.daemon, err = r.startDaemon(r.command(nil, program, "serve", r.path("registry.yml")), r.path("registry.log"), func() error {
		_, err := r.send(http.MethodGet, "http://"+registryAddress+"/v2/", "", nil, 0)
		return err
	})
	return err
}

// upload sends a file as a blob.
func (r *registry) upload(name string, d descriptor, file string) error {
	where, err := r.send(http.MethodPost, "http://"+registryAddress+"/v2/"+name+"/blobs/uploads/", "", nil, 0)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	separator := "?"
	if strings.Contains(where, "?") {
		separator = "&"
	}
	_, err = r.send(http.MethodPut, where+separator+"digest="+d.Digest, "application/octet-stream", f, d.Size)
	return err
}

// send makes a request, which must succeed, and returns where it leads.
func (r *registry) send(method, url, kind string, body io.Reader, size int64) (location string, err error) {
	req, err := http.NewRequestWithContext(r.ctx, method, url, body)
	if err != nil {
		return "", err
	}
	req.ContentLength = size
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return "", fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, said)
	}
	return resp.Header.Get("Location"), nil
}
