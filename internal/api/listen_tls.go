package api

import (
	"crypto/tls"
	"errors"
	"net"

	"github.com/docker/go-connections/tlsconfig"
)

// TLS names files in PEM by which clients on TCP and this server know each
// other. Who reaches this API owns the machine, on loopback too, where every
// user of the machine is: nobody is served without a certificate.
type TLS struct {
	CA        string // of the clients' certificates
	Cert, Key string // the server's own
}

// config is what a listener needs. It is of TLS 1.2 at least.
func (t TLS) config() (*tls.Config, error) {
	if t.CA == "" || t.Cert == "" || t.Key == "" {
		return nil, errors.New("who reaches the API owns the machine, so TCP is served with client certificates alone: pass --tlscacert, --tlscert and --tlskey; or use ssh (docker -H ssh://…)")
	}
	c, err := tlsconfig.Server(tlsconfig.Options{
		CAFile: t.CA, CertFile: t.Cert, KeyFile: t.Key, ClientAuth: tls.RequireAndVerifyClientCert, ExclusiveRootPools: true,
	})
	if err != nil {
		return nil, err
	}
	c.NextProtos = []string{"http/1.1"} // streams take connections over, which HTTP/2 has no way to give
	return c, nil
}

func listenTCP(address string, access TLS) (net.Listener, error) {
	c, err := access.config()
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", address, c)
}
