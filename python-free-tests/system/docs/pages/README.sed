s/--epochs 2 /--epochs 1 /
s/--count 10000/--count 40/
s/--tolerance fraction=0.05/--tolerance fraction=1000/
# Showers after one small epoch are no showers yet: the files compared are both of GFlash.
s/(validate .*)--candidate fast.h5/\1--candidate more.h5/
