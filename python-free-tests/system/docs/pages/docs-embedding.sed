s/ --threads 1,2,4,8 --batch 1,8,64/ --threads 1,2 --batch 8 --particles 20 --seconds 0.05/
s/ --data jets.h5 --batch 1,64/ --data jets.h5 --batch 1,64 --seconds 0.05/
