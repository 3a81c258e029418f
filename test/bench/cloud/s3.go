package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

type stored struct {
	size    int64
	etag    string
	crc32c  string
	headers []string
}

type part struct {
	size   int64
	crc32c uint32
}

type upload struct {
	key     string
	headers []string
	lock    sync.Mutex
	parts   map[int]part
}

// S3, as far as storing goes: every byte is compared with what the source holds under the same name, and thrown away.
type s3 struct {
	lock    sync.Mutex
	objects map[string]stored
	uploads map[string]*upload
	number  atomic.Int64
	// What the benchmark asks for between two runs.
	wrong atomic.Int64
	bytes atomic.Int64
}

var keyed = regexp.MustCompile(`^/[^/]+/(?:[^/]+/)?((?:of|mixed)-[^/]+)/(.*)$`)

func (s *s3) handle(r *request) {
	switch {
	case r.path == "/-/clear":
		s.lock.Lock()
		s.objects, s.uploads = map[string]stored{}, map[string]*upload{}
		s.lock.Unlock()
		s.wrong.Store(0)
		s.bytes.Store(0)
		r.answer("200 OK", nil, nil)
	case r.path == "/-/state":
		s.lock.Lock()
		text := fmt.Sprintf(`{"objects":%d,"uploads":%d,"wrong":%d,"bytes":%d}`,
			len(s.objects), len(s.uploads), s.wrong.Load(), s.bytes.Load())
		s.lock.Unlock()
		r.json(text)
	case strings.Count(strings.Trim(r.path, "/"), "/") == 0:
		s.bucket(r)
	default:
		s.object(r)
	}
}

func (s *s3) bucket(r *request) {
	if r.method != "GET" || r.query.Has("location") {
		r.answer("200 OK", []string{"x-amz-bucket-region", "eu-west-1"}, []byte(`<LocationConstraint>eu-west-1</LocationConstraint>`))
		return
	}
	// What was written is never listed: every run writes all of it.
	r.xml(`<ListBucketResult><Name>sink</Name><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>`)
}

func (r *request) xml(text string) {
	r.answer("200 OK", []string{"content-type", "application/xml"}, []byte(text))
}

func (s *s3) object(r *request) {
	key, id := r.path, r.query.Get("uploadId")
	switch r.method {
	case "HEAD", "GET":
		s.lock.Lock()
		found, ok := s.objects[key]
		s.lock.Unlock()
		if !ok {
			r.answer("404 Not Found", nil, nil)
			return
		}
		headers := append([]string{"etag", found.etag, "last-modified", "Fri, 02 Jan 2026 03:04:05 GMT"}, found.headers...)
		r.head("200 OK", headers, found.size)
	case "POST":
		if r.query.Has("uploads") {
			id := fmt.Sprintf("upload%d", s.number.Add(1))
			s.lock.Lock()
			s.uploads[id] = &upload{key: key, headers: kept(r), parts: map[int]part{}}
			s.lock.Unlock()
			r.xml("<InitiateMultipartUploadResult><UploadId>" + id + "</UploadId></InitiateMultipartUploadResult>")
		} else {
			s.complete(r, key, id)
		}
	case "DELETE":
		s.lock.Lock()
		delete(s.uploads, id)
		s.lock.Unlock()
		r.answer("204 No Content", nil, nil)
	case "PUT":
		s.put(r, key, id)
	}
}

func kept(r *request) []string {
	var headers []string
	for name, value := range r.headers {
		if strings.HasPrefix(name, "x-amz-meta-") {
			headers = append(headers, name, value)
		}
	}
	return headers
}

// Compares a body with the object from the first of the places on where its beginning lies. Returns how long it was, its
// checksum, and whether it was right.
func compare(r *request, one *object, places ...int64) (int64, uint32, bool) {
	body, buffer := r.content(), buffers.Get().([]byte)
	defer buffers.Put(buffer)
	size, sum, right := int64(0), uint32(0), one != nil
	for {
		count, err := body.Read(buffer)
		chunk := buffer[:count]
		sum = crc32.Update(sum, castagnoli, chunk)
		for size == 0 && count > 0 && right && len(places) > 1 && !bytes.HasPrefix(one.at(places[0], int64(count)), chunk[:min(count, 64)]) {
			places = places[1:]
		}
		for len(chunk) > 0 && right {
			expected := one.at(places[0]+size, int64(len(chunk)))
			if len(expected) == 0 || !bytes.Equal(expected, chunk[:len(expected)]) {
				right = false
				break
			}
			size += int64(len(expected))
			chunk = chunk[len(expected):]
		}
		size += int64(len(chunk))
		if err == io.EOF {
			return size, sum, right
		}
		if err != nil {
			return size, sum, false
		}
	}
}

var buffers = sync.Pool{New: func() any { return make([]byte, 64<<10) }}

// The object of the source whose name the key ends with: `/sink/of-10-4096/o00000001`.
func sourceOf(key string) *object {
	found := keyed.FindStringSubmatch(key)
	if found == nil {
		return nil
	}
	if from := bucketOf(found[1]); from != nil {
		return from.byName[found[2]]
	}
	return nil
}

func text(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

func (s *s3) put(r *request, key, id string) {
	one := sourceOf(key)
	if id == "" {
		size, sum, right := compare(r, one, 0)
		right = right && size == one.size
		if sent := r.headers["x-amz-checksum-crc32c"]; !right || (sent != "" && sent != text(sum)) {
			s.refuse(r, key)
			return
		}
		_, digest := one.sums()
		done := stored{size, `"` + digest + `"`, text(sum), kept(r)}
		s.lock.Lock()
		s.objects[key] = done
		s.lock.Unlock()
		s.bytes.Add(size)
		r.answer("200 OK", answered(r, done.etag, text(sum)), nil)
		return
	}
	s.lock.Lock()
	found := s.uploads[id]
	s.lock.Unlock()
	number, _ := strconv.Atoi(r.query.Get("partNumber"))
	if found == nil {
		r.answer("404 Not Found", nil, []byte("<Error><Code>NoSuchUpload</Code></Error>"))
		return
	}
	// Where a part begins follows from the size of the others, which all are as long as the first.
	length, _ := strconv.ParseInt(r.headers["x-amz-decoded-content-length"], 10, 64)
	if length == 0 {
		length, _ = strconv.ParseInt(r.headers["content-length"], 10, 64)
	}
	// All parts are as long as the first, but the last: that one ends where the object ends.
	places := []int64{int64(number-1) * length}
	if one != nil && number > 1 {
		places = append(places, one.size-length)
	}
	size, sum, right := compare(r, one, places...)
	if !right || size != length {
		s.refuse(r, key)
		return
	}
	found.lock.Lock()
	found.parts[number] = part{size, sum}
	found.lock.Unlock()
	s.bytes.Add(size)
	r.answer("200 OK", answered(r, fmt.Sprintf(`"%032x"`, sum), text(sum)), nil)
}

// S3 names only checksums that it was asked for.
func answered(r *request, etag, crc32c string) []string {
	if r.headers["x-amz-checksum-crc32c"] != "" || r.query.Has("uploadId") {
		return []string{"etag", etag, "x-amz-checksum-crc32c", crc32c}
	}
	return []string{"etag", etag}
}

func (s *s3) refuse(r *request, key string) {
	s.wrong.Add(1)
	r.answer("400 Bad Request", nil, []byte("<Error><Code>BadDigest</Code><Message>"+key+" is not what its source holds</Message></Error>"))
}

func (s *s3) complete(r *request, key, id string) {
	io.Copy(io.Discard, r)
	s.lock.Lock()
	found := s.uploads[id]
	delete(s.uploads, id)
	s.lock.Unlock()
	one := sourceOf(key)
	if found == nil || one == nil {
		r.answer("404 Not Found", nil, []byte("<Error><Code>NoSuchUpload</Code></Error>"))
		return
	}
	size := int64(0)
	for _, one := range found.parts {
		size += one.size
	}
	crc32c, digest := one.sums()
	if sent := r.headers["x-amz-checksum-crc32c"]; size != one.size || (sent != "" && sent != crc32c) {
		s.refuse(r, key)
		return
	}
	raw, _ := hex.DecodeString(digest)
	etag := fmt.Sprintf(`"%x-%d"`, raw, len(found.parts))
	s.lock.Lock()
	s.objects[key] = stored{size, etag, crc32c, found.headers}
	s.lock.Unlock()
	r.xml("<CompleteMultipartUploadResult><Key>k</Key><ETag>" + etag + "</ETag><ChecksumCRC32C>" + crc32c +
		"</ChecksumCRC32C><ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>")
}
