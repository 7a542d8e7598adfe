s/--count 10000 (--theta 60:120 --out inclined)/--count 20 \1/
s/--count 10000/--count 40/
s/(--data inclined.h5)/\1 --batch 8/
s/--epochs 2/--epochs 1/
s/fraction=0.05,profile=0.1/fraction=1000,profile=1000/
# Showers after one small epoch are no showers yet: the files compared are both of GFlash.
s/(validate .*)--candidate fast.h5/\1--candidate gflash.h5/
