"""Train and time ResNets and SVMs on MNIST-like images; collect the results as records."""
