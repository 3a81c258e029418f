package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A request of HTTP/1.1 as far as the clients of this benchmark send them. Own framing: net/http costs as much as what
// is measured.
type request struct {
	method  string
	path    string
	query   url.Values
	headers map[string]string
	conn    *connection
	left    int64
	chunked *chunkReader
}

type connection struct {
	net.Conn
	in  *bufio.Reader
	out *bufio.Writer
}

func serve(listener net.Listener, latency time.Duration, handle func(*request)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			c := &connection{conn, bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)}
			for {
				r, err := read(c)
				if err != nil {
					return
				}
				if latency > 0 {
					time.Sleep(latency)
				}
				handle(r)
				io.Copy(io.Discard, r)
				if c.out.Flush() != nil || r.headers["connection"] == "close" {
					return
				}
			}
		}()
	}
}

func read(c *connection) (*request, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(strings.TrimRight(string(line), "\r\n"), " ", 3)
	if len(parts) != 3 {
		return nil, io.ErrUnexpectedEOF
	}
	r := &request{method: parts[0], headers: make(map[string]string, 16), conn: c}
	raw, query, _ := strings.Cut(parts[1], "?")
	if r.path, err = url.PathUnescape(raw); err != nil {
		return nil, err
	}
	if query != "" {
		r.query, _ = url.ParseQuery(query)
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		r.headers[strings.ToLower(string(name))] = string(bytes.TrimSpace(value))
	}
	r.left, _ = strconv.ParseInt(r.headers["content-length"], 10, 64)
	if strings.EqualFold(r.headers["expect"], "100-continue") {
		c.out.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
		c.out.Flush()
	}
	if r.headers["transfer-encoding"] == "chunked" {
		r.chunked = &chunkReader{in: c.in}
	}
	return r, nil
}

// The body as it is framed by HTTP.
func (r *request) Read(into []byte) (int, error) {
	if r.chunked != nil {
		return r.chunked.Read(into)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if int64(len(into)) > r.left {
		into = into[:r.left]
	}
	count, err := r.conn.in.Read(into)
	r.left -= int64(count)
	return count, err
}

// The content of the body: aws-chunked is taken apart.
func (r *request) content() io.Reader {
	if strings.HasPrefix(r.headers["x-amz-content-sha256"], "STREAMING-") {
		return &chunkReader{in: bufio.NewReaderSize(r, 64<<10)}
	}
	return r
}

func (r *request) answer(status string, headers []string, body []byte) {
	r.head(status, headers, int64(len(body)))
	if r.method != "HEAD" {
		r.conn.out.Write(body)
	}
}

func (r *request) head(status string, headers []string, length int64) {
	out := r.conn.out
	out.WriteString("HTTP/1.1 ")
	out.WriteString(status)
	out.WriteString("\r\ncontent-length: ")
	out.WriteString(strconv.FormatInt(length, 10))
	for index := 0; index < len(headers); index += 2 {
		out.WriteString("\r\n")
		out.WriteString(headers[index])
		out.WriteString(": ")
		out.WriteString(headers[index+1])
	}
	out.WriteString("\r\n\r\n")
}

// Chunks of HTTP and of aws-chunked: a size in hex, perhaps with a signature, and the bytes.
type chunkReader struct {
	in    *bufio.Reader
	left  int64
	begun bool
	ended bool
}

func (c *chunkReader) Read(into []byte) (int, error) {
	for c.left == 0 {
		if c.ended {
			return 0, io.EOF
		}
		if c.begun {
			if _, err := c.in.ReadSlice('\n'); err != nil {
				return 0, err
			}
		}
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(string(line)), ";")
		if c.left, err = strconv.ParseInt(size, 16, 64); err != nil {
			return 0, err
		}
		c.begun = true
		if c.left == 0 {
			c.ended = true
			for {
				line, err := c.in.ReadSlice('\n')
				if err != nil || len(bytes.TrimSpace(line)) == 0 {
					return 0, io.EOF
				}
			}
		}
	}
	if int64(len(into)) > c.left {
		into = into[:c.left]
	}
	count, err := c.in.Read(into)
	c.left -= int64(count)
	return count, err
}
