"""Train and time ResNets and SVMs on MNIST-like images, and judge two reports by the records.

In which order to read:

1. One training: `params`, `data`, `batches`, `hardware`, `resnet`, `train`, `flops`. The templates
   in `book/` call them, and `svm` and `bench`; `record` and `tables` keep and collect the results.
2. `fast/`: what makes it quick with the same answers, a module a trick.
3. `runner/`: from a suite in `params/` to executed notebooks and records.
4. `study/`: what the two reports claim, and what the records say of it.
5. `publish/`: the book, its pages and tables for other tools.

Imports go one way only: cli → publish → runner | study → the library → fast.
"""
