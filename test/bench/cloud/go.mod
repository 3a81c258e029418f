module isthmus.test/bench/cloud

go 1.22
