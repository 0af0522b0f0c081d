package api

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a CA, with certificates in PEM files.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", nil)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name+".pem") }

// issue writes NAME.pem and NAME-key.pem.
func (a *authority) issue(name string, usage []x509.ExtKeyUsage) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: usage,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{a.file(name): {Type: "CERTIFICATE", Bytes: der}, a.file(name + "-key"): {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

func (a *authority) server() TLS {
	a.issue("server", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth})
	return TLS{CA: a.file("ca"), Cert: a.file("server"), Key: a.file("server-key")}
}

// client is the configuration of one with a certificate of issuer's; nil: none.
func (a *authority) client(issuer *authority) *tls.Config {
	a.t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(a.cert)
	if issuer != nil {
		issuer.issue("client", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth})
		pair, err := tls.LoadX509KeyPair(issuer.file("client"), issuer.file("client-key"))
		if err != nil {
			a.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// tlsServer serves routes on TCP.
func tlsServer(t *testing.T, access TLS, routes ...route) (address string) {
	t.Helper()
	ls, err := Listen("tcp://127.0.0.1:0", Access{TLS: access})
	if err != nil {
		t.Fatal(err)
	}
	serveRoutes(t, ls[0], routes)
	return ls[0].Addr().String()
}

// Who has no certificate of the right authority gets nothing.
func TestTLSKnowsItsClients(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	served := 0
	address := tlsServer(t, ours.server(), route{"GET", "/x", func(w http.ResponseWriter, _ *http.Request) error {
		served++
		_, err := io.WriteString(w, "yes")
		return err
	}})
	get := func(scheme string, c *tls.Config) (string, error) {
		tr := &http.Transport{TLSClientConfig: c}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get(scheme + "://" + address + "/x")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	if b, err := get("https", ours.client(ours)); err != nil || b != "yes" {
		t.Errorf("with a certificate: %q %v", b, err)
	}
	for name, c := range map[string]*tls.Config{"none": ours.client(nil), "another authority's": ours.client(theirs)} {
		if b, err := get("https", c); err == nil {
			t.Errorf("with a certificate of %s: %q", name, b)
		}
	}
	_, _ = get("http", nil)
	if served != 1 {
		t.Errorf("%d requests were served, not 1", served)
	}
}

func TestTLSRefuses(t *testing.T) {
	a := newAuthority(t)
	good := a.server()
	for name, access := range map[string]TLS{
		"nothing": {}, "no authority": {Cert: good.Cert, Key: good.Key}, "no key": {CA: good.CA, Cert: good.Cert},
		"a file that is not there": {CA: good.CA, Cert: good.Cert, Key: good.Key + "x"}, "another's key": {CA: good.CA, Cert: good.Cert, Key: a.file("ca-key")},
	} {
		for _, host := range []string{"tcp://127.0.0.1:0", "tcp://0.0.0.0:0"} {
			if ls, err := Listen(host, Access{TLS: access}); err == nil {
				ls[0].Close()
				t.Errorf("%s is served with %s", host, name)
			}
		}
	}
	if _, err := Listen("tcp://127.0.0.1:0", Access{}); err == nil || !strings.Contains(err.Error(), "--tlscacert") {
		t.Errorf("the refusal does not say what to do: %v", err)
	}
}

// Streams work over TLS as on a socket: input may end before output does, and
// a client that is gone is noticed.
func TestTLSStreams(t *testing.T) {
	noLeaks(t)
	a := newAuthority(t)
	rt, ended := hijackRoute(true, nil, func(c *hijacked) error {
		in, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		if len(in) == 0 { // nobody will ever write here
			<-c.ctx.Done()
			return c.ctx.Err()
		}
		_, err = fmt.Fprintf(c, "%s back", in)
		return err
	})
	address := tlsServer(t, a.server(), rt)
	connect := func() (*tls.Conn, *bufio.Reader) {
		conn, err := tls.Dial("tcp", address, a.client(a))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		return conn, r
	}
	conn, r := connect()
	if _, err := io.WriteString(conn, "there and"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "there and back" {
		t.Errorf("%q %v", b, err)
	}
	conn.Close()
	if err := wait(t, ended, "the end"); err != nil {
		t.Error(err)
	}
	conn, _ = connect()
	conn.NetConn().Close() // as a client that was killed
	wait(t, ended, "the end of a stream whose client has gone")
}
