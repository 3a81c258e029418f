package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Cloud Storage, as far as listing and reading go.
func gcs(base func() string) func(*request) {
	return func(r *request) {
		path := strings.TrimPrefix(strings.TrimPrefix(r.path, "/download"), "/storage/v1")
		rest, isBucket := strings.CutPrefix(path, "/b/")
		name, after, hasMore := strings.Cut(rest, "/")
		found := bucketOf(name)
		if !isBucket || found == nil {
			r.answer("404 Not Found", nil, []byte(`{"error":{"code":404,"message":"Not Found"}}`))
			return
		}
		switch {
		case !hasMore:
			r.json(fmt.Sprintf(`{"kind":"storage#bucket","name":%q,"location":"EU"}`, name))
		case after == "o":
			list(r, name, found, base())
		default:
			one := found.byName[strings.TrimPrefix(after, "o/")]
			if one == nil {
				r.answer("404 Not Found", nil, []byte(`{"error":{"code":404,"message":"No such object"}}`))
			} else if r.query.Get("alt") == "media" {
				media(r, one)
			} else {
				r.json(resource(name, one, base()))
			}
		}
	}
}

func (r *request) json(text string) {
	r.answer("200 OK", []string{"content-type", "application/json; charset=UTF-8"}, []byte(text))
}

func resource(bucket string, one *object, base string) string {
	crc32c, digest := one.sums()
	raw, _ := hex.DecodeString(digest)
	hash := ""
	if digest != "" {
		hash = fmt.Sprintf(`"md5Hash":%q,`, base64.StdEncoding.EncodeToString(raw))
	}
	escaped := strings.ReplaceAll(one.name, "/", "%2F")
	return fmt.Sprintf(`{"kind":"storage#object","name":%q,"bucket":%q,"generation":"1700000000000001","metageneration":"1",`+
		`"contentType":"application/octet-stream","size":"%d",%s"crc32c":%q,"updated":"2026-01-02T03:04:05.678Z",`+
		`"timeCreated":"2026-01-02T03:04:05.678Z","storageClass":"STANDARD","etag":"CAE=",`+
		`"mediaLink":"%s/download/storage/v1/b/%s/o/%s?generation=1700000000000001&alt=media"}`,
		one.name, bucket, one.size, hash, crc32c, base, bucket, escaped)
}

func list(r *request, name string, found *bucket, base string) {
	prefix := r.query.Get("prefix")
	start := sort.Search(len(found.objects), func(index int) bool {
		one := found.objects[index].name
		return one >= prefix && one > r.query.Get("pageToken") && one >= r.query.Get("startOffset")
	})
	most, err := strconv.Atoi(r.query.Get("maxResults"))
	if err != nil || most > 1000 {
		most = 1000
	}
	var text strings.Builder
	text.WriteString(`{"kind":"storage#objects","items":[`)
	count, token := 0, ""
	for _, one := range found.objects[start:] {
		if !strings.HasPrefix(one.name, prefix) {
			break
		}
		if count == most {
			token = found.objects[start+count-1].name
			break
		}
		if count > 0 {
			text.WriteByte(',')
		}
		text.WriteString(resource(name, one, base))
		count++
	}
	text.WriteString("]")
	if token != "" {
		fmt.Fprintf(&text, `,"nextPageToken":%q`, token)
	}
	text.WriteString("}")
	r.json(text.String())
}

func media(r *request, one *object) {
	crc32c, digest := one.sums()
	raw, _ := hex.DecodeString(digest)
	start, end, status := int64(0), one.size, "200 OK"
	headers := []string{
		"content-type", "application/octet-stream",
		"x-goog-generation", "1700000000000001",
		"x-goog-stored-content-encoding", "identity",
		"x-goog-stored-content-length", strconv.FormatInt(one.size, 10),
		"x-goog-hash", "crc32c=" + crc32c + ",md5=" + base64.StdEncoding.EncodeToString(raw),
		"accept-ranges", "bytes",
		"etag", `"CAE="`,
	}
	if text, ok := strings.CutPrefix(r.headers["range"], "bytes="); ok {
		first, last, _ := strings.Cut(text, "-")
		start, _ = strconv.ParseInt(first, 10, 64)
		if last != "" {
			value, _ := strconv.ParseInt(last, 10, 64)
			end = min(value+1, one.size)
		}
		status = "206 Partial Content"
		headers = append(headers, "content-range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, one.size))
	}
	r.head(status, headers, end-start)
	for at := start; at < end; {
		chunk := one.at(at, min(end-at, 1<<20))
		if len(chunk) > 64<<10 {
			// Past the buffer of the writer, so that nothing is copied.
			r.conn.out.Flush()
			if _, err := r.conn.Write(chunk); err != nil {
				return
			}
		} else if _, err := r.conn.out.Write(chunk); err != nil {
			return
		}
		at += int64(len(chunk))
	}
}
