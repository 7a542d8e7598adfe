s/--count 10000/--count 20/
s/inclined.h5 /inclined.h5 --count 20 /
