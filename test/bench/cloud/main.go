// The clouds of the benchmarks: Cloud Storage and S3 over TLS, fast enough not to be what is measured. Objects are made
// up as they are read; what is written is compared with that, byte by byte, and thrown away.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "measure" {
		measure(os.Args[2:])
		return
	}
	latency := flag.Duration("latency", 0, "before each answer")
	pemFile := flag.String("pem", "", "where the certificate is written")
	plain := flag.Bool("plain", false, "without TLS")
	flag.Parse()
	certificate, err := selfSigned(*pemFile)
	if err != nil {
		panic(err)
	}
	scheme := "https"
	listen := func() net.Listener {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		if *plain {
			scheme = "http"
			return listener
		}
		return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}})
	}
	one, two := listen(), listen()
	url := func(listener net.Listener) string {
		return fmt.Sprintf("%s://localhost:%d", scheme, listener.Addr().(*net.TCPAddr).Port)
	}
	sink := &s3{objects: map[string]stored{}, uploads: map[string]*upload{}}
	go serve(one, *latency, gcs(func() string { return url(one) }))
	go serve(two, *latency, sink.handle)
	fmt.Printf(`{"gcs":%q,"s3":%q}`+"\n", url(one), url(two))
	// Whoever started it holds its input open.
	os.Stdin.Read(make([]byte, 1))
}

func selfSigned(path string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if path != "" {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
